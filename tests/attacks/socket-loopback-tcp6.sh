#!/usr/bin/env bash
# technique: TCP over ::1
# hooks: socket_sendmsg, socket_recvmsg, file_open
# sink: usb

. attack.sh
timeout 6 socat -u "TCP6-LISTEN:7102,bind=[::1],reuseaddr" "CREATE:$COPY" &
until_true grep -q ':1BBE 0*:0000 0A' /proc/net/tcp6
timeout 6 socat -u "OPEN:$SCAN" "TCP6:[::1]:7102"
wait
