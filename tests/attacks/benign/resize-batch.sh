#!/usr/bin/env bash
# work: all masters are resized in one go

set -e
. attack.sh
mkdir "$ROOM/web"
for master in "${masters[@]}"; do
    convert-im6.q16 "$master" -resize 200x200 "$ROOM/web/$(basename "$master" .tif).jpg"
done
[ "$(find "$ROOM/web" -name '*.jpg' | wc -l)" = ${#masters[@]} ]
