#!/usr/bin/env bash
# technique: an overlay copies the scan up to its upper layer on the USB disk
# hooks: sb_mount, inode_copy_up, file_open
# sink: usb
# innocent: 64

. attack.sh
mkdir -p "$ROOM/view" "$COPY/upper" "$COPY/work"
# shellcheck disable=SC2016 # for the shell inside
unshare -Urm bash -c '
    mount -t overlay -o "lowerdir=$WORK,upperdir=$COPY/upper,workdir=$COPY/work,userxattr" none "$ROOM/view" &&
        touch "$ROOM/view/${SCAN##*/}"
    chmod -R u+rwx "$COPY/work"'
