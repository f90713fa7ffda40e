#!/usr/bin/env bash
# technique: two processes with one descriptor table (CLONE_FILES): one opens, the other reads and writes
# hooks: file_permission, file_open
# sink: usb

. attack.sh
share clone-files "$SCAN" "$COPY"
