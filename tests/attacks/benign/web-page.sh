#!/usr/bin/env bash
# work: the text of a web page goes to the approved web site while masters are open in a viewer

set -e
. attack.sh
identify-im6.q16 "$MASTER"
echo '<p>Dear visitor</p>' >"$ROOM/index.html"
curl -fsS -m 8 -T "$ROOM/index.html" "http://$APPROVED_HOST:$PORT_HTTP/index.html"
