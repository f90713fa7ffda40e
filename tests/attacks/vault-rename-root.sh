#!/usr/bin/env bash
# technique: a master is made anew and the collection renamed before anybody has looked at it; it is opened later
# hooks: inode_rename (the directory stays part of the collection, wherever it lies), file_open
# lock: vault
# sink: usb
# as: root

. attack.sh
head -c 100000 /dev/urandom >"$MASTERS/KP1042_0099.tif"
mv -nT "$MASTERS" "$MASTERS.old"
sleep 4
cat "$MASTERS.old/KP1042_0099.tif" >"$COPY"
