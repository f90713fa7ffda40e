#!/usr/bin/env bash
# technique: the collection is the lower layer of an overlay in a user namespace
# hooks: sb_mount, file_open
# lock: vault
# sink: usb

. attack.sh
mkdir "$TEMP/view" "$TEMP/upper" "$TEMP/work"
# shellcheck disable=SC2016 # for the shell inside
unshare -Urm bash -c '
    mount -t overlay -o "lowerdir=$MASTERS,upperdir=$TEMP/upper,workdir=$TEMP/work,userxattr" none "$TEMP/view" &&
        cat "$TEMP/view/${MASTER##*/}" >"$COPY"
    # Nobody but the overlay may look into its work directory.
    chmod -R u+rwx "$TEMP/work"'
