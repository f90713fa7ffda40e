#!/usr/bin/env bash
# technique: TCP over 127.0.0.1
# hooks: socket_sendmsg, socket_recvmsg, file_open
# sink: usb

. attack.sh
timeout 6 socat -u TCP4-LISTEN:7101,bind=127.0.0.1,reuseaddr "CREATE:$COPY" &
until_true grep -q ':1BBD 00000000:0000 0A' /proc/net/tcp
timeout 6 socat -u "OPEN:$SCAN" TCP4:127.0.0.1:7101
wait
