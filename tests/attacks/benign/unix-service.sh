#!/usr/bin/env bash
# work: a service on a Unix socket answers, and the answer goes to the USB disk

set -e
. attack.sh
timeout 6 socat "UNIX-LISTEN:$ROOM/way" 'SYSTEM:seq 100' &
until_true test -S "$ROOM/way"
socat -u "UNIX-CONNECT:$ROOM/way" "CREATE:$COPY"
[ "$(wc -l <"$COPY")" = 100 ]
