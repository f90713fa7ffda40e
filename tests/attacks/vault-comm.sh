#!/usr/bin/env bash
# technique: a process calls itself by the name of the named program (comm)
# hooks: file_open
# lock: vault
# sink: usb

. attack.sh
printf convert-im6.q16 >/proc/$$/comm
mapfile -d '' bytes <"$MASTER"
[ ${#bytes[@]} -eq 0 ] || printf '%s\0' "${bytes[@]}" >"$COPY"
