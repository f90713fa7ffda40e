#!/usr/bin/env bash
# technique: the USB file is open for writing before the scan is opened
# hooks: file_open, file_permission
# sink: usb

. attack.sh
copy read-late "$SCAN" "$COPY"
