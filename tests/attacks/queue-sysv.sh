#!/usr/bin/env bash
# technique: a System V message queue
# hooks: msg_queue_msgsnd, msg_queue_msgrcv, file_open
# sink: usb

. attack.sh
share sysv-queue "$SCAN" "$COPY"
