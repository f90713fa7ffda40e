#!/usr/bin/env bash
# technique: the values that signals bring along
# hooks: task_kill, file_open
# sink: usb

. attack.sh
share signals "$SCAN" "$COPY"
