#!/usr/bin/env bash
# technique: POSIX shared memory mapped before the scan is read
# hooks: mmap_file, file_open (of the scan)
# sink: usb

. attack.sh
share posix-memory "$SCAN" "$COPY"
