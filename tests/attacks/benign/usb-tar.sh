#!/usr/bin/env bash
# work: the documents of the home directory are packed onto the USB disk

set -e
. attack.sh
mkdir "$ROOM/documents"
seq 1000 >"$ROOM/documents/list"
tar -C "$ROOM" -czf "$COPY.tgz" documents
tar -tzf "$COPY.tgz"
