#!/usr/bin/env bash
# technique: the scan is written to a loop device over a file on the USB disk
# hooks: file_open (of a block device)
# sink: output
# as: root

. attack.sh
truncate -s 8M "$ROOM/image"
cp --sparse=never "$ROOM/image" "$COPY.img"
loop=$(losetup --find --show "$COPY.img") || exit
dd if="$SCAN" of="$loop" bs=64k conv=fsync status=none && carried "$(stat -c %s "$SCAN")"
losetup -d "$loop"
