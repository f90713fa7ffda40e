#!/usr/bin/env bash
# technique: the copy is mapped and never written
# hooks: file_open, mmap_file
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *
import mmap

data = scan()
with open(COPY, "w+b") as file:
    file.truncate(len(data))
    mmap.mmap(file.fileno(), 0)[:] = data
PY
