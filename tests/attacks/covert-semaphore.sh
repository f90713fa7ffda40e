#!/usr/bin/env bash
# technique: the values of System V semaphores
# hooks: sem_semctl, sem_semop, file_open
# sink: usb

. attack.sh
share semaphores "$SCAN" "$COPY"
