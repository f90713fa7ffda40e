#!/usr/bin/env bash
# technique: renameat2 exchanges a file of the sync folder for the scan
# hooks: inode_rename
# sink: sync

. attack.sh
python3 - "$SYNC/$here.tif" <<'PY'
from attack import *
import ctypes

with open(sys.argv[1], "wb"):
    pass
libc = ctypes.CDLL(None, use_errno=True)
if libc.renameat2(-100, sys.argv[1].encode(), -100, INBOX.encode(), 2):
    print(os.strerror(ctypes.get_errno()), file=sys.stderr)
PY
