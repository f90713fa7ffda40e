#!/usr/bin/env bash
# technique: the scan is written to a disk without a file system
# hooks: file_open (of a block device), file_permission
# sink: raw

. attack.sh
dd if="$SCAN" of="$RAW" bs=64k conv=notrunc status=none
