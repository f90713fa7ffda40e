#!/usr/bin/env bash
# technique: root has the agent's own program take the guard out of the kernel
# hooks: bpf_map (the program sees that the shield is in force)
# lock: shield
# sink: output
# as: root
# alone: nothing is guarded afterwards where it is let

. shield.sh
# Let, it waits for an agent that runs: that is no refusal of the shield.
told=$(/vm/bin/vitrine run --detach-guards 2>&1)
case $told in
*"the shield keeps"*) ;;
*) through true ;;
esac
