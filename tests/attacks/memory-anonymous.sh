#!/usr/bin/env bash
# technique: an anonymous shared mapping made before fork: the child reads the scan into it, the parent writes
# hooks: file_open (of the scan), task_alloc
# sink: usb

. attack.sh
share anonymous "$SCAN" "$COPY"
