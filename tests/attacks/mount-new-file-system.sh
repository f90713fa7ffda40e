#!/usr/bin/env bash
# technique: a disk is formatted and mounted at a place that the policy does not name
# hooks: file_open
# sink: output
# as: root

. attack.sh
mkdir "$ROOM/own"
mkfs.ext4 -q -F -E lazy_itable_init=1,nodiscard "$RAW" 16M
mount "$RAW" "$ROOM/own" && cp "$SCAN" "$ROOM/own/scan"
carried "$(stat -c %s "$ROOM/own/scan" 2>/dev/null || echo 0)"
until_true umount "$ROOM/own"
