#!/usr/bin/env bash
# technique: the child of a program that is traced is traced from its beginning, and what it has read is taken
# hooks: ptrace_traceme, task_alloc (who traces the parent carries what the child reads), file_open
# sink: usb

. attack.sh
# shellcheck disable=SC2016 # for the shell inside
peek traced "$COPY" - sh -c 'md5sum "$SCAN"; true'
