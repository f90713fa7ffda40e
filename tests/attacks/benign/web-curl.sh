#!/usr/bin/env bash
# work: a derivative that is small enough goes to the approved web site by curl

set -e
. attack.sh
convert-im6.q16 "$MASTER" -resize 300x300 -depth 8 "$ROOM/web.jpg"
measured
curl -fsS -m 8 -T "$ROOM/web.jpg" "http://$APPROVED_HOST:$PORT_HTTP/web.jpg"
