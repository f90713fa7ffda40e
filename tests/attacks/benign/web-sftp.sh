#!/usr/bin/env bash
# work: a derivative that is small enough goes to the approved host by sftp

set -e
. attack.sh
convert-im6.q16 "$MASTER" -resize 300x300 -depth 8 "$ROOM/web.jpg"
measured
timeout 15 sftp -q -b - "keeper@$APPROVED_HOST" <<<"put $ROOM/web.jpg web.jpg"
