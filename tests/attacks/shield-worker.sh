#!/usr/bin/env bash
# technique: root kills the process that measures a copy
# hooks: task_kill
# lock: shield
# sink: output
# as: root

. shield.sh
worker() { pgrep -P "$AGENT" | head -n 1; }
for turn in 1 2 3 4 5 6 7 8 9 10; do
    cp "$SCAN" "/home/staff/shield-$turn.tif"
    for ((look = 0; look < 200; look++)); do
        child=$(worker)
        [ -z "$child" ] || break 2
    done
done
rm -f /home/staff/shield-*.tif
[ -n "$child" ] || { echo "no process was seen to measure"; child=$AGENT; }
through kill -KILL "$child"
