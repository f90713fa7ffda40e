#!/usr/bin/env bash
# work: a call over TCP to a private host while a master is resized

set -e
. attack.sh
convert-im6.q16 "$MASTER" -resize 50% "$ROOM/half.png" &
head -c 200000 /dev/urandom | timeout 5 nc -q 1 "$PRIVATE_HOST" "$PORT_TCP"
wait $!
