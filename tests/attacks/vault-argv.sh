#!/usr/bin/env bash
# technique: another program carries the path of the named one as its argv[0]
# hooks: file_open
# lock: vault
# sink: usb

. attack.sh
(exec -a /usr/bin/convert-im6.q16 cat "$MASTER") >"$COPY"
