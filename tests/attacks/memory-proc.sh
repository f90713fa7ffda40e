#!/usr/bin/env bash
# technique: a clean process reads /proc/PID/mem of one that has read the scan
# hooks: ptrace_access_check, file_open
# sink: usb

. attack.sh
peek mem "$COPY" - share hold "$SCAN"
