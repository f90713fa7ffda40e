#!/usr/bin/env bash
# technique: Python's shutil.copyfile (sendfile between two files)
# hooks: file_open
# sink: usb

. attack.sh
python3 -c 'from attack import *; import shutil; shutil.copyfile(SCAN, COPY)'
