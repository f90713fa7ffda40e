#!/usr/bin/env bash
# technique: dd
# hooks: file_open
# sink: usb

. attack.sh
dd if="$SCAN" of="$COPY" bs=64k status=none
