#!/usr/bin/env bash
# technique: the shell keeps the scan in a variable and ends the program that read it
# hooks: file_permission, file_open
# sink: usb

. attack.sh
text=$(base64 "$SCAN")
[ -z "$text" ] || printf '%s' "$text" >"$COPY"
