#!/usr/bin/env bash
# technique: root changes the agent's limits, and puts it behind all other processes
# hooks: task_setrlimit, task_setnice, task_setscheduler
# lock: shield
# sink: output
# as: root

. shield.sh
through grip limit "$AGENT"
through grip priority "$AGENT"
through chrt -i -p 0 "$AGENT"
chrt -o -p 0 "$AGENT"
