#!/usr/bin/env bash
# technique: the master is moved out of the collection and opened there
# hooks: inode_rename, file_open
# lock: vault
# sink: usb
# as: root

. attack.sh
mv -n "$MASTER" "$MASTERS/../../innocent.txt" && cat "$MASTERS/../../innocent.txt" >"$COPY"
