#!/usr/bin/env bash
# work: packages are downloaded

set -e
. attack.sh
wget -q -T 6 -t 1 -O "$ROOM/package" "http://$PRIVATE_HOST:$PORT_HTTP/package"
curl -fsS -m 6 -o "$ROOM/another" "http://[$PRIVATE_HOST6]:$PORT_HTTP/another"
[ -s "$ROOM/package" ] && [ -s "$ROOM/another" ]
