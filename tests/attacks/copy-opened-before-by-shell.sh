#!/usr/bin/env bash
# technique: the shell holds the USB file open as descriptor 9 and hands it down to cat
# hooks: file_open, file_permission
# sink: usb

. attack.sh
exec 9>"$COPY"
cat "$SCAN" >&9
