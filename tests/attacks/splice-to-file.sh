#!/usr/bin/env bash
# technique: splice that waits in an empty pipe moves it to a file at home, which is copied
# hooks: file_permission (EINVAL: others may fill the pipe)
# sink: usb

. attack.sh
(
    sleep 0.5
    cat "$SCAN"
) | relay splice >"$ROOM/copy"
cp "$ROOM/copy" "$COPY"
