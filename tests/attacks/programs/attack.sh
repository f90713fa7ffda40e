# shellcheck shell=bash
# What every script begins with; found through PATH, as all that lies in the directory brought along.
#
# SCAN    a scan that anybody may read
# MASTER  a scan in the vault
# COPY    where a copy goes on the USB disk, named after the script
# ROOM    a directory on the disk of SCAN, TEMP one in memory: both gone in the end
set -u
here=${0##*/}
here=${here%.sh}
scans=("$WORK"/*.tif)
masters=("$MASTERS"/*.tif)
export SCAN=${scans[0]} MASTER=${masters[0]} COPY=$USB/$here PYTHONPATH=/with
ROOM=$(mktemp -d "$HOME/$here.XXXXXX")
TEMP=$(mktemp -d "/dev/shm/$here.XXXXXX")
export ROOM TEMP

leave() {
    local code=$? children
    children=$(jobs -p)
    # shellcheck disable=SC2086 # one word for each process
    [ -z "$children" ] || kill $children 2>/dev/null || true
    rm -rf --one-file-system "$ROOM" "$TEMP"
    exit "$code"
}
trap leave EXIT
trap 'exit 1' TERM INT

# The disk that holds a file, and the file's path there.
on_disk() {
    local disk root top
    read -r disk root top < <(findmnt -no SOURCE,FSROOT,TARGET --nofsroot -T "$1")
    echo "$disk ${root%/}${1#"${top%/}"}"
}

# For sinks where nobody looks: the script tells how much got through.
carried() {
    [ "$1" -le 0 ] || echo "carried $1 bytes"
}

# The agent has measured a new file and lowered its tier by the time that a person has found the next button. To
# ask by trying would leave a record of each try.
measured() {
    sleep 5
}

# Waits for at most three seconds until a command succeeds.
until_true() {
    local turn
    for ((turn = 0; turn < 30; turn++)); do
        "$@" && return
        sleep 0.1
    done 2>/dev/null
    return 1
}
