#!/usr/bin/env bash
# technique: the shell opens the USB file first, then cat reads the scan and writes
# hooks: file_open
# sink: usb

. attack.sh
cat "$SCAN" >"$COPY"
