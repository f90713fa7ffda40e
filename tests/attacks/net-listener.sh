#!/usr/bin/env bash
# technique: a socket that listens before the scan is read gives it to whoever connects
# hooks: socket_accept, socket_sendmsg, socket_recvmsg
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

listener = socket.create_server(("0.0.0.0", 0))


def serve():
    data = scan()
    listener.accept()[0].sendall(data)


apart(serve)
port = listener.getsockname()[1]
listener.close()
keep(drain(socket.create_connection(("127.0.0.2", port), 5)))
PY
