#!/usr/bin/env bash
# technique: io_uring splices it from pipe to pipe
# hooks: io_splice (both pipes carry the same from then on), file_permission
# sink: usb

. attack.sh
(
    sleep 0.5
    cat "$SCAN"
) | relay ring-splice | cat >"$COPY"
