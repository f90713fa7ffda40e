#!/usr/bin/env bash
# work: a web server on the loopback serves documents

set -e
. attack.sh
mkdir "$ROOM/site"
seq 100 >"$ROOM/site/list"
(cd "$ROOM/site" && exec timeout 8 python3 -m http.server -b 127.0.0.1 7203) >/dev/null 2>&1 &
until_true grep -q ':1C23 00000000:0000 0A' /proc/net/tcp
curl -fsS -m 5 -o "$COPY" http://127.0.0.1:7203/list
cmp "$ROOM/site/list" "$COPY"
