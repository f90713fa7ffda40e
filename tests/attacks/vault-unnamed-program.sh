#!/usr/bin/env bash
# technique: a program that the policy does not name opens a master
# hooks: file_open
# lock: vault
# sink: usb

. attack.sh
cat "$MASTER" >"$COPY"
