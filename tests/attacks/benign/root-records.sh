#!/usr/bin/env bash
# work: root, who has looked into a scan, starts the agent anew, and it keeps its hold of its new databases
# as: root
# alone: the agent is another one

set -e
. attack.sh
agent=$(pgrep -o -x vitrine)
mapfile -d '' -t command <"/proc/$agent/cmdline"
command[0]=$(readlink "/proc/$agent/exe")
read -r -n 4 _ <"$SCAN" || true
is_gone() { ! [ -e "/proc/$agent" ] || grep -q '^State:.[ZX]' "/proc/$agent/status"; }
kill -TERM "$agent"
until_true is_gone
"${command[@]}" >"$TEMP/said" 2>&1 &
agent=$!
for _ in {1..60}; do
    grep -q '^guarding with' "$TEMP/said" && break
    sleep 1
done
sleep 5

# Without a lock the next reader takes a database for nobody's, and cuts off what the agent shares with its readers.
seen=0
for descriptor in /proc/"$agent"/fd/*; do
    case $(readlink "$descriptor") in
        *.db-shm)
            seen=1
            grep -q '^lock:' "/proc/$agent/fdinfo/${descriptor##*/}" || { echo "no lock: $(readlink "$descriptor")"; exit 1; }
            ;;
    esac
done
[ "$seen" = 1 ]
/vm/bin/vitrine events >"$TEMP/records"
sleep 1
kill -0 "$agent"
