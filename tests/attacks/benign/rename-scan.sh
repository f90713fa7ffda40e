#!/usr/bin/env bash
# work: a scan gets another name inside of its collection

set -e
. attack.sh
mv "$SCAN" "$WORK/KP2999_0001.tif"
[ -e "$WORK/KP2999_0001.tif" ]
