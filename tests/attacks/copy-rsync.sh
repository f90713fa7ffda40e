#!/usr/bin/env bash
# technique: rsync on one machine: a sender and a receiver, joined by a socketpair
# hooks: socket_recvmsg, file_permission, file_open
# sink: usb

. attack.sh
rsync --whole-file "$SCAN" "$COPY"
