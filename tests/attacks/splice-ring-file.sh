#!/usr/bin/env bash
# technique: io_uring splices it from a registered pipe to another
# hooks: io_splice (the pipe counts as one that carries a master), file_permission
# unrecorded: the record names no master, because the ring alone knows which pipe it keeps
# sink: usb

. attack.sh
(
    sleep 0.5
    cat "$SCAN"
) | relay ring-file | cat >"$COPY"
