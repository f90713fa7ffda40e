#!/usr/bin/env bash
# technique: the reader of a pipe is blocked in read before the writer has read the scan
# hooks: file_permission (of the pipe, looked at again at the sink)
# sink: usb

. attack.sh
# cat holds back until the reader has opened the USB file and waits for the first byte.
(sleep 1; cat "$SCAN") | cat >"$COPY"
