#!/usr/bin/env bash
# work: a token's time runs out, and a clock that is set back does not stop that
# lock: shield
# as: root
# alone: the clock is set back

. shield.sh
set -e
refused() { ! "$@" 2>/dev/null || { echo "let: $*"; exit 1; }; }
append() { echo "# edited" >>"$1"; }
present 1 "$(date -u -d '-45 seconds' +%FT%TZ)"
append "$SETTINGS"
date -s '-1 hour' >/dev/null
append "$SETTINGS"
sleep 16
refused append "$SETTINGS"
refused kill -TERM "$AGENT"
refused /vm/bin/vitrine maintenance
date -s '+1 hour' >/dev/null
