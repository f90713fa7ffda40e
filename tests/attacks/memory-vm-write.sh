#!/usr/bin/env bash
# technique: who has read the scan writes it into the memory of a clean process (process_vm_writev)
# hooks: ptrace_access_check, file_open
# sink: usb

. attack.sh
share vm-write "$SCAN" "$COPY"
