#!/usr/bin/env bash
# work: a derivative of an open scan, made by vips, goes to the approved web site by wget

set -e
. attack.sh
vipsthumbnail "$SCAN" --size 280 -o "$ROOM/web.jpg"
measured
wget -q -T 8 -t 1 -O /dev/null --post-file="$ROOM/web.jpg" "http://$APPROVED_HOST:$PORT_HTTP/web.jpg"
