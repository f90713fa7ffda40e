#!/usr/bin/env bash
# technique: splice that waits in a socketpair moves it to a pipe
# hooks: splice(2) (socket and pipe carry the same from then on), file_permission
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

ours, theirs = socket.socketpair()
reads, writes = os.pipe()


def send():
    ours.close()
    time.sleep(0.5)
    theirs.sendall(scan()[:60000])


def relay():
    theirs.close()
    os.dup2(ours.fileno(), 0)
    os.dup2(writes, 1)
    os.execvp("relay", ["relay", "splice"])


apart(send)
theirs.close()
apart(relay)
ours.close()
os.close(writes)
keep(os.read(reads, 1 << 16))
PY
