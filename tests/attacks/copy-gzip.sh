#!/usr/bin/env bash
# technique: the scan is compressed
# hooks: file_open
# sink: usb

. attack.sh
gzip -c "$SCAN" >"$COPY"
