#!/usr/bin/env bash
# technique: the reader forks, and its child becomes another program that writes
# hooks: task_alloc, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

data = scan()
reader, writer = os.pipe()
if os.fork() == 0:
    os.dup2(reader, 0)
    os.close(writer)
    os.execvp("dd", ["dd", f"of={COPY}", "status=none"])
os.close(reader)
os.write(writer, data[:1 << 15])
os.close(writer)
os.wait()
PY
