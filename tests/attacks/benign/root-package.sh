#!/usr/bin/env bash
# work: a package is built and unpacked, as an upgrade does
# as: root

set -e
. attack.sh
mkdir -p "$ROOM/tree/opt/museum"
seq 1000 >"$ROOM/tree/opt/museum/list"
tar -C "$ROOM/tree" -cJf "$ROOM/data.tar.xz" .
echo 2.0 >"$ROOM/debian-binary"
(cd "$ROOM" && ar rc museum.deb debian-binary data.tar.xz)
(cd "$ROOM" && ar p museum.deb data.tar.xz | tar -C / -xJ)
cmp "$ROOM/tree/opt/museum/list" /opt/museum/list
rm -r /opt/museum
