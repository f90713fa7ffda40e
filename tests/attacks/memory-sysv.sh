#!/usr/bin/env bash
# technique: System V shared memory attached before the scan is read
# hooks: shm_shmat, file_open (of the scan)
# sink: usb

. attack.sh
share sysv-memory "$SCAN" "$COPY"
