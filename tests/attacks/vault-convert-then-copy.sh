#!/usr/bin/env bash
# technique: the named program writes a full-size copy to the own disk, cp takes it from there
# hooks: file_open, file_permission
# sink: usb

. attack.sh
convert-im6.q16 "$MASTER" "tif:$ROOM/innocent"
cp "$ROOM/innocent" "$COPY"
