#!/usr/bin/env bash
# technique: a program prints it on /dev/tty, and another one reads it from the terminal's other side
# hooks: file_permission (the terminal by whichever of its names), file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *
import fcntl
import termios
import tty

master, slave = os.openpty()
tty.setraw(slave)


def write():
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    with open("/dev/tty", "wb", buffering=0) as terminal:
        terminal.write(scan()[: 1 << 12])
        time.sleep(1)


apart(write)
data = b""
while len(data) < 1 << 12:
    data += os.read(master, 1 << 12)
os.close(master)
os.close(slave)
keep(data)
PY
