#!/usr/bin/env bash
# technique: tee duplicates what splice put into a pipe
# hooks: file_open, file_permission
# sink: usb

. attack.sh
copy tee "$SCAN" "$COPY"
