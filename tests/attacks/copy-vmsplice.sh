#!/usr/bin/env bash
# technique: vmsplice gives pages to a pipe, splice takes them to the copy
# hooks: file_open, file_permission
# sink: usb

. attack.sh
copy vmsplice "$SCAN" "$COPY"
