#!/usr/bin/env bash
# work: letters go to a private host by curl, right after masters were looked at

set -e
. attack.sh
identify-im6.q16 "$MASTER"
seq 1000 >"$ROOM/letter"
curl -fsS -m 6 -T "$ROOM/letter" "http://$PRIVATE_HOST:$PORT_HTTP/letter"
curl -fsS -m 6 -F "file=@$ROOM/letter" "http://$PRIVATE_HOST:$PORT_HTTP/letter"
