#!/usr/bin/env bash
# technique: process substitution: the writer's argument is a pipe in /dev/fd
# hooks: file_permission, file_open
# sink: usb

. attack.sh
cp <(cat "$SCAN") "$COPY"
