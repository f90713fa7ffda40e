#!/usr/bin/env bash
# technique: shared memory behind forty other files that the process has mapped
# hooks: mmap_file (all that a process has mapped, looked at again at the sink), file_open
# sink: usb

. attack.sh
cat >"$TEMP/writer.py" <<'PY'
import mmap

from attack import *

with open(f"{ROOM}/shared", "r+b") as file:
    mmap.mmap(file.fileno(), 4096)[:] = scan()[:4096]
PY
python3 - <<'PY'
import mmap
import subprocess

from attack import *


def share(path):
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 4096)


paths = [f"{ROOM}/{number}" for number in range(40)] + [f"{ROOM}/shared"]
for path in paths:
    with open(path, "wb") as file:
        file.write(bytes(4096))
held = [share(path) for path in paths]

subprocess.run(["python3", f"{TEMP}/writer.py"], check=False)
data = held[-1][:]
keep(data if any(data) else b"")
PY
