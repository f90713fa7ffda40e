#!/usr/bin/env bash
# technique: a loop device over a file on the USB disk is mounted
# hooks: file_open, sb_mount
# sink: output
# as: root

. attack.sh
mkdir "$ROOM/own"
truncate -s 8M "$COPY.img"
mkfs.ext4 -q -F "$COPY.img"
mount -o loop "$COPY.img" "$ROOM/own" && cp "$SCAN" "$ROOM/own/scan"
carried "$(stat -c %s "$ROOM/own/scan" 2>/dev/null || echo 0)"
until_true umount "$ROOM/own"
