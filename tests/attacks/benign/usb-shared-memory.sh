#!/usr/bin/env bash
# work: office programs exchange a letter by shared memory and queues

set -e
. attack.sh
seq 500 >"$ROOM/letter"
for way in sysv-memory posix-memory anonymous mapped-file clone-memory sysv-queue posix-queue keyring; do
    share "$way" "$ROOM/letter" "$COPY.$way"
    [ -s "$COPY.$way" ]
done
