#!/usr/bin/env bash
# work: a program that may open masters, and has opened none, draws a picture on the USB disk

set -e
. attack.sh
convert-im6.q16 -size 320x200 gradient:navy-gold "png:$COPY"
identify-im6.q16 "$COPY"
