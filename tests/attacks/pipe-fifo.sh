#!/usr/bin/env bash
# technique: a named FIFO joins two unrelated processes
# hooks: file_permission, file_open
# sink: usb

. attack.sh
mkfifo "$ROOM/way"
timeout 6 cat "$ROOM/way" >"$COPY" &
timeout 6 dd if="$SCAN" of="$ROOM/way" bs=64k status=none
wait $!
