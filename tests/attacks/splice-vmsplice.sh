#!/usr/bin/env bash
# technique: vmsplice takes it out of a pipe into memory
# hooks: vmsplice(2) (a read from the pipe), file_permission
# sink: usb

. attack.sh
(
    sleep 0.5
    cat "$SCAN"
) | relay vmsplice >"$COPY"
