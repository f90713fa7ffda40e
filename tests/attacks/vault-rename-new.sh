#!/usr/bin/env bash
# technique: a master is made anew and its directory renamed before anybody has looked at it; it is opened later
# hooks: inode_rename (the directory stays part of the collection, wherever it lies), file_open
# lock: vault
# sink: usb
# as: root

. attack.sh
mkdir "$MASTERS/box"
head -c 100000 /dev/urandom >"$MASTERS/box/KP1042_0001.tif"
mv -nT "$MASTERS/box" "$MASTERS/../moved"
sleep 4
cat "$MASTERS/../moved/KP1042_0001.tif" >"$COPY"
