#!/usr/bin/env bash
# technique: memory of an io_uring that two processes hold
# hooks: mmap_file (it is shared memory), file_open
# sink: usb

. attack.sh
between "$SCAN" "$COPY"
