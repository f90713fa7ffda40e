#!/usr/bin/env bash
# technique: tar reads, a pipe, another tar writes
# hooks: file_permission, file_open
# sink: usb

. attack.sh
mkdir -p "$COPY"
tar -C "$WORK" -c "${SCAN##*/}" | tar -C "$COPY" -x
