#!/usr/bin/env bash
# technique: the scan is mapped and never read
# hooks: file_open, mmap_file
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *
import mmap

with open(SCAN, "rb") as file:
    keep(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:])
PY
