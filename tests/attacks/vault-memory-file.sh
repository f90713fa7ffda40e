#!/usr/bin/env bash
# technique: /proc/PID/mem gives the pixels in the memory of the named program
# hooks: ptrace_access_check
# lock: vault
# sink: usb

. attack.sh
mkfifo "$ROOM/slow"
peek mem "$COPY" - convert-im6.q16 "$MASTER" "rgb:$ROOM/slow"
