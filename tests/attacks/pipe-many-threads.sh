#!/usr/bin/env bash
# technique: a hundred threads of one process wait in pipes of their own, and one of them gets the scan
# hooks: file_permission (all that the threads wait for, looked at again at the sink), file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from threading import Thread

from attack import *

pipes = [os.pipe() for _ in range(100)]
got = []


def send():
    for number, (_, writes) in enumerate(pipes):
        if number != 3:
            os.close(writes)
    time.sleep(2)
    os.write(pipes[3][1], scan())


for reads, _ in pipes:
    Thread(target=lambda end: got.append(os.read(end, 1 << 16)), args=[reads], daemon=True).start()
apart(send)
wait_for(lambda: got, 6)
keep(b"".join(got))
os._exit(0)
PY
