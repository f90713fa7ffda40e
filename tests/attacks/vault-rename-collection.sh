#!/usr/bin/env bash
# technique: the directory of the collection is renamed, and a master opened below its new name
# hooks: inode_rename, file_open
# lock: vault
# sink: usb
# as: root

. attack.sh
mv -nT "$MASTERS" "$MASTERS.old" && cat "$MASTERS.old/${MASTER##*/}" >"$COPY"
