#!/usr/bin/env bash
# technique: a converted, lossy derivative that is still above the ceiling
# hooks: file_open, file_permission
# sink: usb

. attack.sh
convert-im6.q16 "$SCAN" -quality 90 "jpg:$COPY"
