#!/usr/bin/env bash
# technique: the named program writes the master into a pipe, another one writes the USB disk
# hooks: file_permission
# sink: usb

. attack.sh
convert-im6.q16 "$MASTER" tif:- | cat >"$COPY"
