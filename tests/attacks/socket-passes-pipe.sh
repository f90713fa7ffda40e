#!/usr/bin/env bash
# technique: the reading end of a pipe that the scan was written into is passed to an unrelated process
# hooks: file_receive, file_permission, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

ours, theirs = socket.socketpair()


def give():
    reader, writer = os.pipe()
    os.write(writer, scan()[: 1 << 15])
    socket.send_fds(theirs, [b"-"], [reader])


apart(give)
theirs.close()
_, fds, _, _ = socket.recv_fds(ours, 1, 1)
keep(os.read(fds[0], 1 << 16))
PY
