#!/usr/bin/env bash
# technique: a file without a name, mapped by two processes before the scan is read
# hooks: mmap_file, file_open (of the scan)
# sink: usb

. attack.sh
share mapped-file "$SCAN" "$COPY"
