#!/usr/bin/env bash
# technique: a key that was there before is updated with the scan's bytes and read by another process
# hooks: key_permission, file_open
# sink: usb

. attack.sh
share keyring "$SCAN" "$COPY"
