#!/usr/bin/env bash
# technique: a hard link outside of the collection is opened
# hooks: inode_link, file_open
# lock: vault
# sink: usb
# as: root

. attack.sh
# fs.protected_hardlinks lets nobody else link what he may not write.
ln "$MASTER" "$MASTERS/../../innocent.txt" && cat "$MASTERS/../../innocent.txt" >"$COPY"
