#!/usr/bin/env bash
# technique: root edits the agent's settings and the key of tokens, or puts others in their place
# hooks: file_open, inode_rename, sb_mount
# lock: shield
# sink: output
# as: root

. shield.sh
append() { echo "# edited" >>"$1"; } 2>/dev/null
through append "$SETTINGS"
through append /etc/vitrine/maintenance.pub
cp -p "$SETTINGS" /etc/vitrine/agent.toml.new
through mv /etc/vitrine/agent.toml.new "$SETTINGS"
through mv /etc/vitrine /etc/other
[ ! -e /etc/other ] || mv /etc/other /etc/vitrine
mkdir -p "$ROOM/etc"
through mount --bind "$ROOM/etc" /etc/vitrine
umount /etc/vitrine
