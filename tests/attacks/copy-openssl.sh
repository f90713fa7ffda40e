#!/usr/bin/env bash
# technique: the scan is encrypted
# hooks: file_open, file_permission
# sink: usb

. attack.sh
openssl enc -aes-256-cbc -pbkdf2 -iter 1 -pass pass:x -in "$SCAN" -out "$COPY"
