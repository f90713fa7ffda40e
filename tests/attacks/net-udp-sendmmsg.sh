#!/usr/bin/env bash
# technique: sendmmsg: many datagrams in one call
# hooks: socket_sendmsg
# sink: private-udp

. attack.sh
send "$SCAN" "$PRIVATE_HOST" "$PORT_UDP"
