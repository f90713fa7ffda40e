#!/usr/bin/env bash
# technique: an extended attribute on the own disk carries the data from one process to a clean one
# hooks: inode_setxattr, inode_getxattr, file_open
# sink: usb

. attack.sh
touch "$ROOM/innocent"
setfattr -n user.note -v "0x$(head -c 2048 "$SCAN" | xxd -p -c 0)" "$ROOM/innocent"
getfattr --only-values -n user.note "$ROOM/innocent" >"$ROOM/value" 2>/dev/null && cp "$ROOM/value" "$COPY"
