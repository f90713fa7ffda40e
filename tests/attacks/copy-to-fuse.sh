#!/usr/bin/env bash
# technique: the scan is copied to a file system in user space that somebody mounted
# hooks: file_open
# sink: fuse

. attack.sh
cp "$SCAN" "$FUSE/$here"
