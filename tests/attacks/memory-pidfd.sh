#!/usr/bin/env bash
# technique: a clean process takes the open scan with pidfd_getfd
# hooks: file_receive, ptrace_access_check, file_permission
# sink: usb

. attack.sh
peek pidfd "$COPY" "$SCAN" share hold-open "$SCAN"
