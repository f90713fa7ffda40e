#!/usr/bin/env bash
# technique: root kills the agent and copies at once
# hooks: file_open (the pinned guard goes on)
# sink: usb
# as: root

. attack.sh
pkill -9 -x vitrine
cp "$SCAN" "$COPY"
