#!/usr/bin/env bash
# technique: tee duplicates it from pipe to pipe
# hooks: tee(2) (both pipes carry the same from then on), file_permission
# sink: usb

. attack.sh
(
    sleep 0.5
    cat "$SCAN"
) | relay tee | cat >"$COPY"
