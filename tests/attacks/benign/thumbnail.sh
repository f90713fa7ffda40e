#!/usr/bin/env bash
# work: vips makes thumbnails of scans for the file manager

set -e
. attack.sh
vipsthumbnail "${scans[@]}" --size 64 -o "$ROOM/%s.png"
[ "$(find "$ROOM" -name '*.png' | wc -l)" = ${#scans[@]} ]
