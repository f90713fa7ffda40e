#!/usr/bin/env bash
# technique: a clean process looks with ptrace into one that has read the scan
# hooks: ptrace_access_check, file_open
# sink: usb

. attack.sh
peek ptrace "$COPY" - share hold "$SCAN"
