#!/usr/bin/env bash
# technique: the dynamic loader, told to preload a library, runs the named program
# hooks: file_open, mmap_file
# lock: vault
# sink: usb

. attack.sh
/lib64/ld-linux-x86-64.so.2 --preload /with/inside.so /usr/bin/convert-im6.q16 -version >/dev/null
