#!/usr/bin/env bash
# technique: splice moves it from pipe to pipe, called as 32-bit programs do
# hooks: splice(2) (both pipes carry the same from then on), file_permission
# sink: usb

. attack.sh
(
    sleep 0.5
    cat "$SCAN"
) | relay splice-32 | cat >"$COPY"
