#!/usr/bin/env bash
# technique: install
# hooks: file_open
# sink: usb

. attack.sh
install -m 600 "$SCAN" "$COPY"
