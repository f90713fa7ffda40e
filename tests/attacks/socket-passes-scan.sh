#!/usr/bin/env bash
# technique: an open descriptor of the scan is passed to an unrelated process (SCM_RIGHTS)
# hooks: file_receive, file_permission, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

ours, theirs = socket.socketpair()
apart(lambda: socket.send_fds(theirs, [b"-"], [os.open(SCAN, os.O_RDONLY)]))
theirs.close()
_, fds, _, _ = socket.recv_fds(ours, 1, 1)
keep(os.pread(fds[0], 1 << 24, 0))
PY
