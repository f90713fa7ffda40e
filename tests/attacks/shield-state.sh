#!/usr/bin/env bash
# technique: root writes, links, renames and removes what the agent keeps, and makes it immutable
# hooks: file_open, inode_setattr, inode_setxattr, inode_link, inode_rename, inode_unlink, inode_create, inode_mkdir, file_ioctl
# lock: shield
# sink: output
# as: root

. shield.sh
append() { echo "$2" >>"$1"; } 2>/dev/null
# What lies there that nobody misses.
file=$STATE/agent-id
through append "$file" ""
through truncate -s +0 "$STATE/status.json"
through chmod 600 "$file"
through touch -d yesterday "$file"
through python3 -c "import os; os.setxattr('$file', 'user.x', b'x')"
through ln "$file" "${STATE%/*}/linked"
through mv "$STATE/status.json" "${STATE%/*}/moved"
through rm "$STATE/status.json"
through touch "$STATE/new"
through mkdir "$STATE/made"
through mv "$STATE" "${STATE%/*}/other"
[ ! -e "${STATE%/*}/other" ] || mv "${STATE%/*}/other" "$STATE"
through mount -t tmpfs tmpfs "$STATE"
umount "$STATE"
through chattr +i "$file"
chattr -i "$file"
rm -rf "${STATE%/*}/linked" "${STATE%/*}/moved" "$STATE/new" "$STATE/made"
