#!/usr/bin/env bash
# technique: a terminal multiplexer started beforehand shows the scan in a pane, and saves its history
# hooks: file_permission, socket_recvmsg, file_open
# sink: usb

. attack.sh
export TERM=linux
tmux -L "$here" -f /dev/null new-session -d -x 200 -y 50
tmux -L "$here" send-keys "base64 -w 190 '$SCAN' | head -n 40" Enter
sleep 2
tmux -L "$here" capture-pane -p >"$ROOM/pane"
tmux -L "$here" kill-server
[ "$(wc -c <"$ROOM/pane")" -lt 4000 ] || cp "$ROOM/pane" "$COPY"
