#!/usr/bin/env bash
# technique: a clean process reads the memory of one that has read the scan (process_vm_readv)
# hooks: ptrace_access_check, file_open
# sink: usb

. attack.sh
peek vm "$COPY" - share hold "$SCAN"
