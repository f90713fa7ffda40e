#!/usr/bin/env bash
# technique: the shell hands the scan on as a here-document
# hooks: file_permission, file_open
# sink: usb

. attack.sh
cat >"$COPY" <<TEXT
$(base64 "$SCAN")
TEXT
