#!/usr/bin/env bash
# technique: two processes with one memory (CLONE_VM without CLONE_THREAD): one reads, the other writes
# hooks: task_alloc, file_open
# sink: usb

. attack.sh
share clone-memory "$SCAN" "$COPY"
