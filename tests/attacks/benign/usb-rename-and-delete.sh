#!/usr/bin/env bash
# work: files on the USB disk are renamed, linked and deleted

set -e
. attack.sh
mkdir "$COPY"
touch "$COPY/a"
mv "$COPY/a" "$COPY/b"
ln "$COPY/b" "$COPY/c"
ln -s b "$COPY/d"
rm -r "$COPY"
