#!/usr/bin/env bash
# technique: the scan is put into a zip archive on the own disk, which is then copied
# hooks: file_open, file_permission
# sink: usb

. attack.sh
(cd "$WORK" && zip -q1 "$ROOM/letters.zip" "${SCAN##*/}")
cp "$ROOM/letters.zip" "$COPY"
