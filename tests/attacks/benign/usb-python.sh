#!/usr/bin/env bash
# work: a Python program writes a report to the USB disk

set -e
. attack.sh
python3 - "$COPY" <<'PY'
import csv, random, sys

with open(sys.argv[1], "w", newline="") as report:
    csv.writer(report).writerows([number, random.random()] for number in range(1000))
PY
[ "$(wc -l <"$COPY")" = 1000 ]
