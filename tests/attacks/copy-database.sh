#!/usr/bin/env bash
# technique: an sqlite database on the own disk carries the scan as a blob
# hooks: file_open, file_permission
# sink: usb

. attack.sh
sqlite3 "$ROOM/addresses.db" "create table address(data blob); insert into address values(readfile('$SCAN'))"
sqlite3 "$ROOM/addresses.db" "select writefile('$COPY', data) from address" >/dev/null
