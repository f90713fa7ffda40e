#!/usr/bin/env bash
# work: a database of addresses is kept on the USB disk

set -e
. attack.sh
sqlite3 "$COPY.db" "create table address(name); insert into address values('visitor'); select * from address"
