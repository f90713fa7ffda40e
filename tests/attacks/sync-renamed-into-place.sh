#!/usr/bin/env bash
# technique: a directory with a copy in it gets the name of the sync folder
# hooks: inode_rename
# sink: sync

. attack.sh
mkdir "$ROOM/new"
cp "$SCAN" "$ROOM/new/$here.tif"
mv -nT "$SYNC" "$ROOM/old"
mv -nT "$ROOM/new" "$SYNC"
[ -e "$SYNC" ] || mv -nT "$ROOM/old" "$SYNC"
