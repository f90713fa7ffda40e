#!/usr/bin/env bash
# work: a terminal multiplexer runs a program and its screen is saved

set -e
. attack.sh
export TERM=linux
tmux -L "$here" -f /dev/null new-session -d -x 80 -y 20 'seq 5; sleep 3'
sleep 1
tmux -L "$here" capture-pane -p >"$COPY"
tmux -L "$here" kill-server
grep -q 5 "$COPY"
