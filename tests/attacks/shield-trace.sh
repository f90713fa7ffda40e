#!/usr/bin/env bash
# technique: root traces the agent, and takes a descriptor of it
# hooks: ptrace_access_check
# lock: shield
# sink: output
# as: root

. shield.sh
through grip ptrace "$AGENT"
through grip pidfd "$AGENT"
