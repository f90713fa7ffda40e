#!/usr/bin/env bash
# technique: the scan gets a second name in the sync folder
# hooks: inode_link
# sink: sync

. attack.sh
scans=("$INBOX"/*.tif)
ln "${scans[0]}" "$SYNC/$here.tif"
