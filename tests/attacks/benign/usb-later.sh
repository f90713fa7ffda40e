#!/usr/bin/env bash
# work: a job in the background writes to the USB disk while masters are looked at

set -e
. attack.sh
(sleep 1; date >"$COPY") &
identify-im6.q16 "$MASTER"
convert-im6.q16 "$MASTER" -resize 50% "$ROOM/half.png"
wait
[ -s "$COPY" ]
