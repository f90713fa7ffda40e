#!/usr/bin/env bash
# work: a contact sheet of the open scans is made on the own disk

set -e
. attack.sh
montage-im6.q16 -geometry 80x80+2+2 "${scans[@]}" "$ROOM/sheet.png"
identify-im6.q16 "$ROOM/sheet.png"
