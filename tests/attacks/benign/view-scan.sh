#!/usr/bin/env bash
# work: any program looks at scans of the open collection

set -e
. attack.sh
identify-im6.q16 -verbose "$SCAN" >"$ROOM/facts"
file "$SCAN"
magic=$(head -c 4 "$SCAN" | xxd -p)
[ "$magic" = 49492a00 ] || [ "$magic" = 4d4d002a ]
