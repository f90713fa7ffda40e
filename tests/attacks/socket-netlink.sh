#!/usr/bin/env bash
# technique: two processes talk over a netlink socket (NETLINK_USERSOCK)
# hooks: netlink_send, socket_sendmsg, socket_recvmsg, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

receiver = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 2)
receiver.bind((0, 0))


def send():
    data = scan()[: 1 << 15]
    sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 2)
    for start in range(0, len(data), 4096):
        sender.sendto(data[start : start + 4096], receiver.getsockname())


apart(send)
keep(drain(receiver))
PY
