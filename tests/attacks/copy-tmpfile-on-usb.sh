#!/usr/bin/env bash
# technique: an O_TMPFILE is made on the USB disk before the scan is read, and linked there when it is full
# hooks: file_open, file_permission, inode_link
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

fd = os.open(os.environ["USB"], os.O_TMPFILE | os.O_RDWR)
os.write(fd, scan())
os.link(f"/proc/self/fd/{fd}", COPY, src_dir_fd=fd)
PY
