#!/usr/bin/env bash
# technique: root removes, renames and covers the names of the guard in the kernel
# hooks: inode_unlink, inode_rmdir, inode_rename, sb_mount, sb_umount
# lock: shield
# sink: output
# as: root

. shield.sh
through rm "$PINS/links/file_open"
through mv "$PINS/maps/labels" "$PINS/maps/other"
through mv "$PINS" /sys/fs/bpf/other
[ ! -e /sys/fs/bpf/other ] || rm -r /sys/fs/bpf/other
through mount -t tmpfs tmpfs "$PINS"
through mount -t tmpfs tmpfs /sys/fs/bpf
through umount -l /sys/fs/bpf
until_true mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
until_true test -e "$PINS/links/file_open"
