#!/usr/bin/env bash
# technique: splice that waits in an empty pipe for what it moves to the USB file, called as 32-bit programs do
# hooks: file_permission (EINVAL: others may fill the pipe)
# sink: usb

. attack.sh
(
    sleep 0.5
    cat "$SCAN"
) | relay splice-32 >"$COPY"
