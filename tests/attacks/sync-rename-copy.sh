#!/usr/bin/env bash
# technique: a copy on the same disk is renamed into the sync folder
# hooks: inode_rename
# sink: sync

. attack.sh
cp "$SCAN" "$ROOM/letter.odt"
python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$ROOM/letter.odt" "$SYNC/$here.odt"
