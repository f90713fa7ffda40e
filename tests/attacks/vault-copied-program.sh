#!/usr/bin/env bash
# technique: a copy of the named program opens the master
# hooks: file_open, bprm_creds_for_exec
# lock: vault
# sink: usb

. attack.sh
cp /usr/bin/convert-im6.q16 "$ROOM/convert-im6.q16"
"$ROOM/convert-im6.q16" "$MASTER" "tif:$COPY"
