#!/usr/bin/env bash
# technique: a memfd carries the bytes from one process to another that inherited it
# hooks: file_permission, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

carrier = os.memfd_create("innocent")
os.waitpid(apart(lambda: os.write(carrier, scan())), 0)
keep(os.pread(carrier, 1 << 24, 0))
PY
