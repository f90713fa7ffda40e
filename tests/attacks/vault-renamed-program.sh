#!/usr/bin/env bash
# technique: another program that has been given the name of the named one opens the master
# hooks: file_open
# lock: vault
# sink: usb

. attack.sh
cp /usr/bin/cat "$ROOM/convert-im6.q16"
"$ROOM/convert-im6.q16" "$MASTER" >"$COPY"
