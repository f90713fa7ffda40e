#!/usr/bin/env bash
# technique: root writes the agent's memory, by /proc/PID/mem and by process_vm_writev
# hooks: ptrace_access_check
# lock: shield
# sink: output
# as: root

. shield.sh
through grip memory "$AGENT"
through grip write "$AGENT"
