#!/usr/bin/env bash
# technique: io_uring duplicates it from pipe to pipe
# hooks: io_tee (both pipes carry the same from then on), file_permission
# sink: usb

. attack.sh
(
    sleep 0.5
    cat "$SCAN"
) | relay ring-tee | cat >"$COPY"
