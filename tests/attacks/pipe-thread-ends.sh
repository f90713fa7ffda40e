#!/usr/bin/env bash
# technique: the thread that read the scan from a pipe has ended, and many others have come, before another writes
# hooks: file_permission, sched_process_exit (what a thread read stays with its process), file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from threading import Thread

from attack import *

reads, writes = os.pipe()
got = []


def send():
    time.sleep(0.5)
    os.write(writes, scan())


apart(send)
reader = Thread(target=lambda: got.append(os.read(reads, 1 << 16)))
reader.start()
reader.join()
for _ in range(100):
    innocent, other = os.pipe()
    os.write(other, b"nothing")
    later = Thread(target=os.read, args=[innocent, 7])
    later.start()
    later.join()
keep(got[0])
PY
