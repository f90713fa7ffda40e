#!/usr/bin/env bash
# work: root, who has looked into a scan, reads the agent's records again and again, and the agent keeps its databases
# as: root

set -e
. attack.sh
agent=$(pgrep -o -x vitrine)

# The databases of which the agent holds a lock: without one, the next reader takes them for nobody's.
kept() {
    local descriptor file
    for descriptor in /proc/"$agent"/fd/*; do
        file=$(readlink "$descriptor") || continue
        case $file in *.db-shm) grep -q '^lock:' "/proc/$agent/fdinfo/${descriptor##*/}" && echo "$file" ;; esac
    done | sort -u
}

before=$(kept)
[ -n "$before" ]
read -r -n 4 _ <"$SCAN" || true
for _ in 1 2 3; do
    /vm/bin/vitrine events >"$TEMP/records"
    sleep 1.5
done
after=$(kept)
[ "$after" = "$before" ] || { echo "before: $before, after: $after"; exit 1; }
