#!/usr/bin/env bash
# technique: another program is run through a symlink with the name of the named one
# hooks: file_open
# lock: vault
# sink: usb

. attack.sh
ln -s /usr/bin/cat "$ROOM/convert-im6.q16"
"$ROOM/convert-im6.q16" "$MASTER" >"$COPY"
