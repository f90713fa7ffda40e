#!/usr/bin/env bash
# technique: the reader of a socketpair is blocked in recv, its USB file open, before the scan is read
# hooks: socket_recvmsg (the socket looked at again at the sink), file_permission
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

ours, theirs = socket.socketpair()


def send():
    time.sleep(1)
    theirs.sendall(scan())


target = os.open(COPY, os.O_WRONLY | os.O_CREAT)
apart(send)
theirs.close()
while data := ours.recv(1 << 16):
    os.write(target, data)
PY
