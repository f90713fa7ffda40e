#!/usr/bin/env bash
# work: the backup program, which is exempt, takes masters to a disk

set -e
. attack.sh
mkdir "$COPY"
cd "$MASTERS/.."
find masters work -type f | bsdcpio --quiet -pd "$COPY"
[ -s "$COPY/masters/${MASTER##*/}" ]
