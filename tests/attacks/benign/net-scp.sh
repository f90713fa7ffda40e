#!/usr/bin/env bash
# work: letters go to another machine by scp and rsync

set -e
. attack.sh
seq 1000 >"$ROOM/letter"
timeout 15 scp -q "$ROOM/letter" "keeper@$PRIVATE_HOST:"
timeout 15 rsync "$ROOM/letter" "keeper@$PRIVATE_HOST:letter.copy"
