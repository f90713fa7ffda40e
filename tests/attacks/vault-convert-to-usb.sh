#!/usr/bin/env bash
# technique: the named program itself writes the master to the USB disk
# hooks: file_open, file_permission
# sink: usb

. attack.sh
convert-im6.q16 "$MASTER" "tif:$COPY"
