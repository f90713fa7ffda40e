#!/usr/bin/env bash
# technique: two processes with one memory: one waits in a pipe and never writes, the other writes what came
# hooks: task_alloc (what either reads from counts for both), file_open
# sink: usb

. attack.sh
share clone-waiting "$SCAN" "$COPY"
