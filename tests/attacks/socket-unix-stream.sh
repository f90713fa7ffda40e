#!/usr/bin/env bash
# technique: a daemon started beforehand takes the scan from a Unix stream socket
# hooks: unix_stream_connect, socket_sendmsg, socket_recvmsg, file_open
# sink: usb

. attack.sh
timeout 6 socat -u "UNIX-LISTEN:$ROOM/way" "CREATE:$COPY" &
until_true test -S "$ROOM/way"
timeout 6 socat -u "OPEN:$SCAN" "UNIX-CONNECT:$ROOM/way"
wait
