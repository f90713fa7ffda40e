#!/usr/bin/env bash
# work: an image with a file system is mounted and read
# as: root

set -e
. attack.sh
mkdir "$ROOM/view"
truncate -s 4M "$ROOM/image"
mkfs.ext4 -q -F "$ROOM/image"
mount -o loop "$ROOM/image" "$ROOM/view"
seq 100 >"$ROOM/view/list"
umount "$ROOM/view"
mount -o loop,ro "$ROOM/image" "$ROOM/view"
cp "$ROOM/view/list" "$COPY"
umount "$ROOM/view"
