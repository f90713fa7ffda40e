#!/usr/bin/env bash
# work: pipes and a FIFO bring a list to the USB disk

set -e
. attack.sh
mkfifo "$ROOM/way"
seq 5000 | sort -r | gzip >"$ROOM/way" &
zcat <"$ROOM/way" | tee "$COPY" | tail -n 1
wait
