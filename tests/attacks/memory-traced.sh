#!/usr/bin/env bash
# technique: a program is started under ptrace, and what it has read is taken from its memory word by word
# hooks: ptrace_traceme (both carry the same, also after the exec), file_open
# sink: usb

. attack.sh
peek traced "$COPY" - md5sum "$SCAN"
