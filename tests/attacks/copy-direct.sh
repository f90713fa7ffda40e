#!/usr/bin/env bash
# technique: the scan is read past the page cache (O_DIRECT)
# hooks: file_open
# sink: usb

. attack.sh
copy direct "$SCAN" "$COPY"
