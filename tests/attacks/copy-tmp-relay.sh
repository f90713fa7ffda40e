#!/usr/bin/env bash
# technique: one process copies to the own disk under another name, an unrelated one from there
# hooks: file_open, file_permission
# sink: usb

. attack.sh
cp "$SCAN" "$ROOM/notes.txt"
setsid cp "$ROOM/notes.txt" "$ROOM/more.txt"
setsid cp "$ROOM/more.txt" "$COPY"
