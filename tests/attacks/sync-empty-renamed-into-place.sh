#!/usr/bin/env bash
# technique: an empty directory gets the name of the sync folder, and the scan is put there at once
# hooks: inode_rename (a directory with the name of a destination is one), file_open
# sink: sync

. attack.sh
mkdir "$ROOM/new"
mv -nT "$SYNC" "$ROOM/old"
mv -nT "$ROOM/new" "$SYNC"
cp "$SCAN" "$SYNC/$here.tif"
[ -s "$SYNC/$here.tif" ] || rmdir "$SYNC"
mv -nT "$ROOM/old" "$SYNC"
