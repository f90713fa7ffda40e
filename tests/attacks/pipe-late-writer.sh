#!/usr/bin/env bash
# technique: the pipe's reader sleeps, drains it and only then opens the USB file
# hooks: file_permission, file_open
# sink: usb

. attack.sh
# shellcheck disable=SC2002 # a pipe is meant
cat "$SCAN" | (sleep 1; cat >"$COPY")
