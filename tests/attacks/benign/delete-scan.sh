#!/usr/bin/env bash
# work: a scan that is not needed any more is deleted

set -e
. attack.sh
rm "$SCAN"
