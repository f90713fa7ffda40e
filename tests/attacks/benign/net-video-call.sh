#!/usr/bin/env bash
# work: a video call: datagrams to a private host while scans are looked at

set -e
. attack.sh
identify-im6.q16 "$MASTER"
head -c 60000 /dev/urandom | timeout 5 socat -u -b 1200 - "UDP:$PRIVATE_HOST:$PORT_UDP"
