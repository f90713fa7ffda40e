#!/usr/bin/env bash
# technique: UDP over 127.0.0.1
# hooks: socket_sendmsg, socket_recvmsg, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))


def send():
    data = scan()[: 1 << 16]
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for start in range(0, len(data), 4096):
        sender.sendto(data[start : start + 4096], receiver.getsockname())
    sender.sendto(b"", receiver.getsockname())


apart(send)
keep(drain(receiver))
PY
