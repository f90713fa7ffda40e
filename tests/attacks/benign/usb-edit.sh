#!/usr/bin/env bash
# work: a text is edited where it lies, on the USB disk

set -e
. attack.sh
echo "Dear visitor," >"$COPY"
sed -i s/visitor/colleague/ "$COPY"
printf 'thank you.\n' >>"$COPY"
grep -q colleague "$COPY"
