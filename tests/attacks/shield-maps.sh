#!/usr/bin/env bash
# technique: root changes a map of the guard, by its name and by its number, and gets hold of a program
# hooks: bpf_map, bpf_prog
# lock: shield
# sink: output
# as: root

. shield.sh
through grip named "$PINS/maps/settings"
through grip numbered settings
through grip numbered shield
through grip program file_open
