#!/usr/bin/env bash
# work: a log is followed while it grows

set -e
. attack.sh
touch "$ROOM/log"
timeout 5 tail -f "$ROOM/log" | head -n 3 >"$COPY" &
for number in 1 2 3; do
    sleep 0.2
    echo "visitor $number" >>"$ROOM/log"
done
wait $!
[ "$(wc -l <"$COPY")" = 3 ]
