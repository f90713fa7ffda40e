#!/usr/bin/env bash
# technique: a POSIX message queue
# hooks: file_open (of the queue), file_open
# sink: usb

. attack.sh
share posix-queue "$SCAN" "$COPY"
