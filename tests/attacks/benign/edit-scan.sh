#!/usr/bin/env bash
# work: a scan is turned and saved in its place

set -e
. attack.sh
convert-im6.q16 "$SCAN" -rotate 90 "$WORK/turned.tif"
mv "$WORK/turned.tif" "$SCAN"
