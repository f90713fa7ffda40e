#!/usr/bin/env bash
# technique: TCP over IPv6
# hooks: socket_connect
# sink: private-tcp

. attack.sh
timeout 6 nc -6 -q 1 "$PRIVATE_HOST6" "$PORT_TCP" <"$SCAN"
