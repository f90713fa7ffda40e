#!/usr/bin/env bash
# work: a master is resized for the web, on the own disk

set -e
. attack.sh
convert-im6.q16 "$MASTER" -resize 300x300 "$ROOM/web.jpg"
identify-im6.q16 "$ROOM/web.jpg"
