#!/usr/bin/env bash
# technique: a program carries the path of an exempt one as its argv[0]
# hooks: file_open
# sink: usb

. attack.sh
(exec -a /usr/bin/bsdcpio cp "$SCAN" "$COPY")
