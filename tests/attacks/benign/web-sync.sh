#!/usr/bin/env bash
# work: a derivative that is small enough goes into the sync folder

set -e
. attack.sh
convert-im6.q16 "$MASTER" -resize 300x300 -depth 8 "$ROOM/web.jpg"
measured
cp "$ROOM/web.jpg" "$SYNC/web.jpg"
