#!/usr/bin/env bash
# technique: an open descriptor of the USB file is passed to a process that has read the scan (SCM_RIGHTS)
# hooks: file_receive, file_permission
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

ours, theirs = socket.socketpair()


def take():
    data = scan()
    _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
    os.write(fds[0], data)


taker = apart(take)
time.sleep(0.5)
socket.send_fds(ours, [b"-"], [os.open(COPY, os.O_WRONLY | os.O_CREAT)])
os.waitpid(taker, 0)
PY
