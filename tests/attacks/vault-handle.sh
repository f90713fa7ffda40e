#!/usr/bin/env bash
# technique: open_by_handle_at opens the master without a path
# hooks: file_open
# lock: vault
# sink: usb
# as: root

. attack.sh
handle "$MASTER" "$COPY"
