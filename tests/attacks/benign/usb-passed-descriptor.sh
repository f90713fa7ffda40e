#!/usr/bin/env bash
# work: a program hands an open letter to another one, which writes it to the USB disk

set -e
. attack.sh
seq 500 >"$ROOM/letter"
peek pidfd "$COPY" "$ROOM/letter" share hold-open "$ROOM/letter"
cmp "$ROOM/letter" "$COPY"
