#!/usr/bin/env bash
# technique: the scan is renamed into the sync folder
# hooks: inode_rename
# sink: sync

. attack.sh
python3 - "$SYNC/$here.tif" <<'PY'
from attack import *

os.rename(INBOX, sys.argv[1])
PY
