#!/usr/bin/env bash
# technique: the master that the named program has open is opened again through /proc/PID/fd
# hooks: file_open, ptrace_access_check
# lock: vault
# sink: usb

. attack.sh
peek fd "$COPY" "$MASTER" convert-im6.q16 "$MASTER" null:
