#!/usr/bin/env bash
# work: scans are moved between directories of their collection

set -e
. attack.sh
mkdir "$WORK/batch"
mv "$SCAN" "$WORK/batch"
identify-im6.q16 "$WORK/batch/${SCAN##*/}"
mv "$WORK/batch/${SCAN##*/}" "$WORK"
rmdir "$WORK/batch"
