#!/usr/bin/env bash
# work: the file manager that has shown and copied scans takes other files to the USB disk

set -e
. attack.sh
rsync "$SCAN" "$ROOM/scan.tif"
echo "Dear visitor," >"$ROOM/letter.txt"
rsync "$ROOM/letter.txt" "$COPY"
