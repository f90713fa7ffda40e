#!/usr/bin/env bash
# technique: an abstract Unix socket, which no file names
# hooks: unix_stream_connect, socket_recvmsg, file_open
# sink: usb

. attack.sh
timeout 6 socat -u ABSTRACT-LISTEN:innocent "CREATE:$COPY" &
until_true grep -q @innocent /proc/net/unix
timeout 6 socat -u "OPEN:$SCAN" ABSTRACT-CONNECT:innocent
wait
