#!/usr/bin/env bash
# work: the backup runs as root and streams masters and scans to another disk
# as: root

set -e
. attack.sh
mkdir "$COPY"
cd "$MASTERS/.."
find . -type f | bsdcpio --quiet -pd "$COPY"
[ -s "$COPY/masters/${MASTER##*/}" ]
