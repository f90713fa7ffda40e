#!/usr/bin/env bash
# technique: root kills the agent
# hooks: task_kill
# lock: shield
# sink: output
# as: root

. shield.sh
kill -KILL "$AGENT"
sleep 1
through is_gone
is_gone || for number in TERM INT QUIT HUP ABRT USR1; do
    through kill -"$number" "$AGENT"
done
