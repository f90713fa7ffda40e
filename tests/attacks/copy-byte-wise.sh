#!/usr/bin/env bash
# technique: 4,096 writes of one byte
# hooks: file_open
# sink: usb

. attack.sh
copy byte-wise "$SCAN" "$COPY"
