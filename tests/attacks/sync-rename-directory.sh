#!/usr/bin/env bash
# technique: a directory with copies in it is renamed into the sync folder
# hooks: inode_rename
# sink: sync

. attack.sh
mkdir "$ROOM/letters"
cp "$SCAN" "$ROOM/letters/$here.odt"
python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$ROOM/letters" "$SYNC/$here"
