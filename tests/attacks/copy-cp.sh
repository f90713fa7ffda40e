#!/usr/bin/env bash
# technique: cp
# hooks: file_open
# sink: usb

. attack.sh
cp "$SCAN" "$COPY"
