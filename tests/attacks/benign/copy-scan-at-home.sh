#!/usr/bin/env bash
# work: scans are copied on the own disk, packed and summed up

set -e
. attack.sh
cp "${scans[@]}" "$ROOM"
tar -C "$ROOM" -czf "$ROOM/scans.tar.gz" "${scans[0]##*/}"
sha256sum "$ROOM"/*.tif >"$ROOM/sums"
(cd "$ROOM" && sha256sum -c --quiet sums)
