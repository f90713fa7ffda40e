#!/usr/bin/env bash
# technique: a clean process opens the scan again through /proc/PID/fd of one that has it open
# hooks: file_open
# sink: usb

. attack.sh
peek fd "$COPY" "$SCAN" share hold-open "$SCAN"
