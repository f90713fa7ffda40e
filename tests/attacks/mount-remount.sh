#!/usr/bin/env bash
# technique: the USB disk is mounted a second time at a place that the policy does not name
# hooks: file_open
# sink: usb
# as: root

. attack.sh
mkdir "$ROOM/own"
mount "$(findmnt -no SOURCE -T "$USB")" "$ROOM/own" && cp "$SCAN" "$ROOM/own/$here"
until_true umount "$ROOM/own"
