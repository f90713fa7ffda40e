#!/usr/bin/env bash
# technique: splice from the scan into a pipe and from the pipe into the copy
# hooks: file_open, file_permission
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

source = os.open(SCAN, os.O_RDONLY)
target = os.open(COPY, os.O_WRONLY | os.O_CREAT)
reader, writer = os.pipe()
while size := os.splice(source, writer, 1 << 16):
    while size:
        size -= os.splice(reader, target, size)
PY
