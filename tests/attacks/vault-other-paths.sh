#!/usr/bin/env bash
# technique: the master is opened by other words for its path
# hooks: file_open
# lock: vault
# sink: usb

. attack.sh
cat "/proc/self/root$MASTER" >"$COPY"
cd "$MASTERS/.." && cat "./${MASTERS##*/}/../${MASTERS##*/}/${MASTER##*/}" >"$COPY.dots"
