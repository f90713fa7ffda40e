#!/usr/bin/env bash
# technique: one read that waits in an empty pipe, then one from a pipe that carries nothing
# hooks: file_permission (the pipe looked at when the next one is read), file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

reads, writes = os.pipe()
innocent, other = os.pipe()
os.write(other, b"nothing")


def send():
    os.close(other)
    time.sleep(0.5)
    os.write(writes, scan())


apart(send)
data = os.read(reads, 1 << 16)
os.read(innocent, 7)
keep(data)
PY
