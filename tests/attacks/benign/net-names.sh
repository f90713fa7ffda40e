#!/usr/bin/env bash
# work: names are resolved

set -e
. attack.sh
dig +tries=1 +time=3 "@$PRIVATE_HOST" www.museum.example >"$ROOM/answer"
grep -q 'status: NXDOMAIN' "$ROOM/answer"
getent hosts "$APPROVED_NAME"
ping -c 1 -W 3 "$PRIVATE_HOST"
