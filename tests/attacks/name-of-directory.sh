#!/usr/bin/env bash
# technique: names of directories on the USB disk hold the data
# hooks: inode_mkdir
# sink: usb

. attack.sh
mkdir -p "$COPY"
for part in $(head -c 1024 "$SCAN" | xxd -p -c 64); do
    mkdir "$COPY/$part"
done
