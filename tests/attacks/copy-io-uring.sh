#!/usr/bin/env bash
# technique: io_uring opens, reads and writes
# hooks: file_open
# sink: usb

. attack.sh
ring "$SCAN" "$COPY"
