#!/usr/bin/env bash
# work: a colleague logs in to another machine

set -e
. attack.sh
timeout 15 ssh "keeper@$PRIVATE_HOST" 'echo "Dear visitor," >letter; cat letter'
