#!/usr/bin/env bash
# work: a holiday picture goes to the USB disk

set -e
. attack.sh
cp "$HOME/Pictures/holiday.jpg" "$COPY.jpg"
cmp "$HOME/Pictures/holiday.jpg" "$COPY.jpg"
