#!/usr/bin/env bash
# work: a derivative that is small enough goes to the approved web site by a form

set -e
. attack.sh
convert-im6.q16 "$MASTER" -resize 300x300 -depth 8 "$ROOM/web.jpg"
measured
curl -fsS -m 8 -F "picture=@$ROOM/web.jpg" "http://$APPROVED_NAME:$PORT_HTTP/upload"
