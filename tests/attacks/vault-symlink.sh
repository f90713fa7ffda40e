#!/usr/bin/env bash
# technique: a symlink outside of the collection is opened
# hooks: file_open
# lock: vault
# sink: usb

. attack.sh
ln -s "$MASTER" "$ROOM/innocent.txt" && cat "$ROOM/innocent.txt" >"$COPY"
