#!/usr/bin/env bash
# work: the derivative that the sync folder may have is made of a scan, and put there, by one command

set -e
. attack.sh
/vm/bin/vitrine export "$SCAN" --to "$SYNC" --out web.jpg
test -s "$SYNC/web.jpg"
