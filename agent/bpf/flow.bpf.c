// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The kernel's side of the flow guard. Each header holds one concept and includes those it builds on:
 *
 *   label       what is known of files                    descriptor  open files
 *   process     what processes carry                      report      what the agent is told
 *   place       destinations in the file tree             network     destinations on the network
 *   held        what a process holds open                 take        reading
 *   carrier     what pipes and sockets carry              source      what processes may still come to carry
 *   socket      pipes, sockets, devices                   splice      what moves without a read
 *   file        files and their names                     life        beginning and end of processes
 *   message     queues, keys, looking into processes      start       what was there before the guard
 *   shield      what is the agent's, kept from root
 */
#include "start.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
