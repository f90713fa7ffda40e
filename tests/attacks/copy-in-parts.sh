#!/usr/bin/env bash
# technique: split cuts the scan into files of a few kilobytes
# hooks: file_open, file_permission
# sink: usb

. attack.sh
mkdir -p "$COPY"
split -b 64k "$SCAN" "$COPY/part."
