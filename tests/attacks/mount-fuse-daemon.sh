#!/usr/bin/env bash
# technique: a FUSE daemon of staff's own reads the scan on behalf of a clean process
# hooks: file_permission (of /dev/fuse), file_open
# sink: usb

. attack.sh
fuse "$SCAN" "$COPY"
