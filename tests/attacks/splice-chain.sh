#!/usr/bin/env bash
# technique: splice moves it through four pipes, of which each waits for the one before
# hooks: splice(2) (all pipes carry the same from then on), file_permission
# sink: usb

. attack.sh
(
    sleep 0.5
    cat "$SCAN"
) | relay splice | relay splice | relay splice | cat >"$COPY"
