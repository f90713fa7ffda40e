#!/usr/bin/env bash
# technique: the scan becomes text
# hooks: file_open
# sink: usb

. attack.sh
base64 "$SCAN" >"$COPY"
