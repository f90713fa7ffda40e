#!/usr/bin/env bash
# technique: shared memory that is unmapped, and its file gone, before the USB file is opened
# hooks: mmap_file, inode_free_security (what was in the file is kept), file_open
# sink: usb

. attack.sh
python3 - <<'PY'
import mmap

from attack import *

path = f"{TEMP}/shared"
with open(path, "wb") as file:
    file.write(bytes(4096))


def share():
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 4096)


memory = share()


def send():
    theirs = share()
    theirs[:] = scan()[:4096]


os.waitpid(apart(send), 0)
data = memory[:]
memory.close()
os.unlink(path)
time.sleep(0.5)
keep(data if any(data) else b"")
PY
