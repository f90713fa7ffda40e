#!/usr/bin/env bash
# technique: bindfs, a FUSE file system, shows the collection at another place
# hooks: file_permission (of /dev/fuse), file_open
# sink: usb

. attack.sh
mkdir "$ROOM/view"
bindfs --no-allow-other "$WORK" "$ROOM/view" && cp "$ROOM/view/${SCAN##*/}" "$COPY"
fusermount3 -u "$ROOM/view"
