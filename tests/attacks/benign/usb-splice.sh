#!/usr/bin/env bash
# work: programs that know splice copy a document to the USB disk, from a pipe of others and through a pipe of their own

set -e
head -c 200000 /dev/urandom >"$HOME/letter"
relay splice < <(cat "$HOME/letter") >"$USB/letter"
cmp "$HOME/letter" "$USB/letter"
relay splice < <(cat "$HOME/letter") | cat >"$USB/letter.2"
cmp "$HOME/letter" "$USB/letter.2"
python3 - "$HOME/letter" "$USB/letter.3" <<'PY'
import os
import sys

source = os.open(sys.argv[1], os.O_RDONLY)
target = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
reads, writes = os.pipe()
while size := os.splice(source, writes, 1 << 16):
    while size:
        size -= os.splice(reads, target, size)
PY
cmp "$HOME/letter" "$USB/letter.3"
