# shellcheck shell=bash
# What the scripts that lay hands on the agent begin with.
#
# AGENT   its process
# STATE, PINS, SETTINGS   where its own things lie
. attack.sh
AGENT=$(pgrep -o -x vitrine)
# A program of the technique's own: what two do by the same one within ten seconds is one record with a count.
install "$(command -v grip)" "$ROOM/grip"
PATH=$ROOM:$PATH
export AGENT STATE=/var/lib/vitrine PINS=/sys/fs/bpf/vitrine SETTINGS=/etc/vitrine/agent.toml

# Tells what was got through: a command that should have been refused.
through() {
    if "$@"; then
        echo "carried 1 bytes"
        echo "let: $*"
    fi
}

# Whether the agent is another process by now, or none.
is_gone() {
    ! [ -e "/proc/$AGENT" ] || grep -q '^State:.[ZX]' "/proc/$AGENT/status"
}

# Has the collector issue a token of so many minutes from a time on, and gives it to the agent.
present() {
    local token
    token=$(/vm/bin/vitrine-collector maintenance issue --data /var/lib/vitrine-collector --key /etc/vitrine/maintenance.key --all \
        --minutes "$1" --from "$2" --reason "technique $here of the tests") || return
    /vm/bin/vitrine maintenance "$token"
    # The kernel hears of it a moment later.
    sleep 1
}
