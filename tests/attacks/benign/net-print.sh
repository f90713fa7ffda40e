#!/usr/bin/env bash
# work: an invoice is printed on a printer in the network

set -e
. attack.sh
printf '%%!PS\n/Helvetica findfont 12 scalefont setfont 72 720 moveto (Invoice 4711) show showpage\n' >"$ROOM/invoice.ps"
timeout 5 nc -q 1 "$PRIVATE_HOST" "$PORT_TCP" <"$ROOM/invoice.ps"
