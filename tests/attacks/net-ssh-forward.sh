#!/usr/bin/env bash
# technique: a clean ssh forwards a local port; the scan goes into that
# hooks: socket_sendmsg, socket_recvmsg
# sink: private-tcp

. attack.sh
ssh -p "$PORT_SSH" -M -S "$ROOM/control" -fN -L "7106:$PRIVATE_HOST:$PORT_TCP" "keeper@$PRIVATE_HOST"
timeout 5 nc -q 1 127.0.0.1 7106 <"$SCAN"
ssh -p "$PORT_SSH" -S "$ROOM/control" -O exit "keeper@$PRIVATE_HOST" 2>/dev/null
