#!/usr/bin/env bash
# technique: the file is opened and closed clean, opened again, and written through the older descriptor
# hooks: file_permission
# sink: usb
# innocent: 25

. attack.sh
python3 - <<'PY'
from attack import *

early = os.open(COPY, os.O_WRONLY | os.O_CREAT)
os.write(early, b"Dear visitor,\n")
with open(COPY, "ab") as late:
    late.write(b"thank you.\n")


def write_late():
    """A child that has only read writes through what it inherited."""
    data = scan()
    os.pwrite(early, data, 64)


os.waitpid(apart(write_late), 0)
PY
