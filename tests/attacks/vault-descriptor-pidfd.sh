#!/usr/bin/env bash
# technique: pidfd_getfd takes the descriptor of the master from the named program
# hooks: ptrace_access_check, file_receive
# lock: vault
# sink: usb

. attack.sh
peek pidfd "$COPY" "$MASTER" convert-im6.q16 "$MASTER" null:
