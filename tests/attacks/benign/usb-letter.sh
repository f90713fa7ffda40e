#!/usr/bin/env bash
# work: letters go to the USB disk

set -e
. attack.sh
for number in 1 2 3; do
    echo "Dear visitor $number," >"$ROOM/letter$number.txt"
done
mkdir "$COPY"
cp "$ROOM"/letter*.txt "$COPY"
cat "$COPY"/letter*.txt | wc -l
