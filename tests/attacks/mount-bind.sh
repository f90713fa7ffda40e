#!/usr/bin/env bash
# technique: the USB disk is bound to a directory of the own disk in a user namespace
# hooks: file_open
# sink: usb

. attack.sh
mkdir "$ROOM/own"
# shellcheck disable=SC2016 # for the shell inside
unshare -Urm bash -c 'mount --bind "$USB" "$ROOM/own" && cp "$SCAN" "$ROOM/own/${COPY##*/}"'
