#!/usr/bin/env bash
# technique: a library of the attacker is preloaded into the named program
# hooks: bprm_creds_for_exec, file_open, mmap_file
# lock: vault
# sink: usb
# unrecorded: the loader takes no library from the environment of a named program (AT_SECURE): nothing is left to refuse

. attack.sh
LD_PRELOAD=/with/inside.so convert-im6.q16 -version >/dev/null
