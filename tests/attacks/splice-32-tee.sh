#!/usr/bin/env bash
# technique: tee duplicates it from pipe to pipe, called as 32-bit programs do
# hooks: tee(2) (both pipes carry the same from then on), file_permission
# sink: usb

. attack.sh
(
    sleep 0.5
    cat "$SCAN"
) | relay tee-32 | cat >"$COPY"
