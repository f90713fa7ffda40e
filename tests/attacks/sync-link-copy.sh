#!/usr/bin/env bash
# technique: a copy of the scan gets a second name in the sync folder
# hooks: inode_link
# sink: sync

. attack.sh
cp "$SCAN" "$ROOM/letter.odt"
ln "$ROOM/letter.odt" "$SYNC/$here.odt"
