#!/usr/bin/env bash
# technique: ptrace takes the pixels out of the memory of the named program
# hooks: ptrace_access_check
# lock: vault
# sink: usb

. attack.sh
# It sleeps with the picture in memory until somebody reads the FIFO.
mkfifo "$ROOM/slow"
peek ptrace "$COPY" - convert-im6.q16 "$MASTER" "rgb:$ROOM/slow"
