#!/usr/bin/env bash
# technique: io_uring splices it from a pipe to the USB file
# hooks: io_splice, file_permission (EINVAL)
# sink: usb

. attack.sh
(
    sleep 0.5
    cat "$SCAN"
) | relay ring-splice >"$COPY"
