#!/usr/bin/env bash
# technique: a daemon started beforehand takes the scan from a Unix datagram socket
# hooks: unix_may_send, socket_recvmsg, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
daemon.bind(f"{ROOM}/way")


def send():
    data = scan()[: 1 << 18]
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for start in range(0, len(data), 4096):
        sender.sendto(data[start : start + 4096], f"{ROOM}/way")
    sender.sendto(b"", f"{ROOM}/way")


apart(send)
keep(drain(daemon))
PY
