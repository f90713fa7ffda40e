#!/usr/bin/env bash
# technique: an io_uring submission opens the master
# hooks: file_open
# lock: vault
# sink: usb

. attack.sh
ring "$MASTER" "$COPY"
