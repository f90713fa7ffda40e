#!/usr/bin/env bash
# technique: a file over 100 MB of holes has the scan in its middle, so that neither end tells
# hooks: file_open, file_permission
# sink: usb

. attack.sh
truncate -s 51M "$ROOM/film"
cat "$SCAN" >>"$ROOM/film"
truncate -s 104M "$ROOM/film"
cp --sparse=always "$ROOM/film" "$COPY"
