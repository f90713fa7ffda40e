#!/usr/bin/env bash
# technique: root stops the agent and all of its threads
# hooks: task_kill
# lock: shield
# sink: output
# as: root

. shield.sh
is_stopped() { grep -q '^State:.T' "/proc/$AGENT/status"; }
kill -STOP "$AGENT"
for thread in "/proc/$AGENT/task"/*; do
    kill -STOP "${thread##*/}"
done
sleep 0.5
through is_stopped
kill -CONT "$AGENT"
