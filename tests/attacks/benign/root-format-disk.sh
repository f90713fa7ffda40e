#!/usr/bin/env bash
# work: a new disk is formatted, mounted and filled with documents
# as: root

set -e
. attack.sh
mkdir "$ROOM/view"
mkfs.ext4 -q -F -E lazy_itable_init=1,nodiscard "$RAW" 16M
mount "$RAW" "$ROOM/view"
seq 100 >"$ROOM/view/list"
umount "$ROOM/view"
