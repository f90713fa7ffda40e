#!/usr/bin/env bash
# technique: one process copies to /dev/shm, an unrelated one from there
# hooks: file_open, file_permission
# sink: usb

. attack.sh
cp "$SCAN" "$TEMP/innocent"
cp "$TEMP/innocent" "$COPY"
