#!/usr/bin/env bash
# work: texts are committed and pushed to a private host

set -e
. attack.sh
cd "$ROOM"
git init -q .
seq 100 >list
git add list
git -c user.name=staff -c user.email=staff@museum.example commit -qm "List the visitors"
timeout 20 git push -q "keeper@$PRIVATE_HOST:repo.git" HEAD:refs/heads/list
