#!/usr/bin/env bash
# work: a viewer shows the masters

set -e
. attack.sh
for master in "${masters[@]}"; do
    identify-im6.q16 "$master"
done
