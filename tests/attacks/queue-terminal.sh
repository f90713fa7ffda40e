#!/usr/bin/env bash
# technique: a pseudoterminal made before the scan is read
# hooks: file_permission, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *
import tty

master, slave = os.openpty()
tty.setraw(slave)


def write():
    data = scan()[: 1 << 12]
    os.write(slave, data)
    time.sleep(1)


apart(write)
os.close(slave)
data = b""
try:
    while len(data) < 1 << 12:
        data += os.read(master, 1 << 12)
except OSError:
    pass
keep(data)
PY
