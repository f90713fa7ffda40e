#!/usr/bin/env bash
# technique: an extended attribute of a file on the USB disk holds the data
# hooks: inode_setxattr
# sink: usb

. attack.sh
touch "$COPY"
setfattr -n user.note -v "0x$(head -c 1024 "$SCAN" | xxd -p -c 0)" "$COPY"
