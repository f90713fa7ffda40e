#!/usr/bin/env bash
# work: documents are zipped and unzipped on the USB disk

set -e
. attack.sh
seq 1000 >"$ROOM/list"
(cd "$ROOM" && zip -q "$COPY.zip" list)
unzip -q -d "$COPY" "$COPY.zip"
cmp "$ROOM/list" "$COPY/list"
