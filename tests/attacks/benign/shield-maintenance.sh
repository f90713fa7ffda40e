#!/usr/bin/env bash
# work: with a token root looks after the agent: settings, state, names in the kernel, its process; and at its end no more
# lock: shield
# as: root
# alone: the agent is killed

. shield.sh
set -e
refused() { ! "$@" 2>/dev/null || { echo "let: $*"; exit 1; }; }
append() { echo "# edited" >>"$1"; }
refused append "$SETTINGS"
present 5 "$(date -u +%FT%TZ)"
append "$SETTINGS"
sed -i 's/edited/edited again/' "$SETTINGS"
touch "$STATE/note"
rm "$STATE/note"
grip named "$PINS/maps/settings"
grip ptrace "$AGENT"
rm "$PINS/links/inode_rmdir"
until_true test -e "$PINS/links/inode_rmdir"
/vm/bin/vitrine maintenance --end
sleep 1
refused append "$SETTINGS"
refused kill -KILL "$AGENT"
present 5 "$(date -u +%FT%TZ)"
kill -KILL "$AGENT"
until_true is_gone
