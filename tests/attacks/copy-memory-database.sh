#!/usr/bin/env bash
# technique: an in-memory database holds the scan between reading and writing
# hooks: file_open
# sink: usb

. attack.sh
sqlite3 :memory: "create table address(data blob); insert into address values(readfile('$SCAN')); select writefile('$COPY', data) from address" >/dev/null
