/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What processes carry, and which program each one is.
 */
#ifndef VITRINE_PROCESS_BPF_H
#define VITRINE_PROCESS_BPF_H

#include "descriptor.bpf.h"

#define MAPPINGS 32
/* As many groups as there can be, united two by two. */
#define GENERATIONS 16

#define PROCESS_AGENT 1
/* It runs code of a file that others than root may change. */
#define PROCESS_FOREIGN 2
/* Its label was handed to it by another process, and not read from a file. */
#define PROCESS_HANDED 4
/* It has made a symbolic link, or is about to. */
#define PROCESS_LINKS 8
/* It has made a directory that has the name of a destination, or is about to. */
#define PROCESS_NAMES 16
/* It runs the agent's program, and was started by who starts the agent: it may be the next one. */
#define PROCESS_NEXT 32

/* What bytes can come from. Its number is used again; its generation then is another. */
struct source {
    struct key key;
    __u64 generation;
};

struct mapping {
    struct source source;
    __u64 writes;
};

struct process {
    struct label label;
    struct key more[MASTERS - 1];
    struct program program;
    /* What it looked into: what it opens there may carry this. */
    struct label looked;
    /* Shared by all who share memory or descriptors with it, or look into each other; 0: nobody. */
    __u64 group;
    /* How many carriers had a label when all of its own were looked at last. */
    __u64 settled;
    __u32 flags;
    /* Lowest ceiling of the destinations that it has mapped to write. */
    __u32 mapped_ceiling;
    __u64 name_bytes;
    /* Where the kernel keeps what its threads have in common; 0: none of them has ever read from a source. */
    __u64 signal;
    /* Number of the crowd that has what finds no room here; 0: none. */
    __u64 crowd;
    __u64 crowded;
    /* Memory that it shares. */
    struct mapping mapping[MAPPINGS];
};

struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct process);
} processes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 65536);
    __type(key, __u64);
    __type(value, struct group);
} groups SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1024);
    __type(key, struct key);
    __type(value, struct program);
} programs SEC(".maps");

/* Most processes are none that anything is known of; to see that costs two reads, and to ask for it a hundred. */
static __always_inline struct process *process_of(struct task_struct *task)
{
    struct task_struct *leader = task->group_leader;

    return leader->bpf_storage ? bpf_task_storage_get(&processes, leader, 0, 0) : NULL;
}

static __always_inline struct process *begin(struct task_struct *leader)
{
    struct process *process = bpf_task_storage_get(&processes, leader, 0, 0);

    if (process)
        return process;
    process = bpf_task_storage_get(&processes, leader, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (process)
        process->mapped_ceiling = NO_CEILING;
    else
        count(COUNTER_FULL);
    return process;
}

static __always_inline struct process *current_process(void)
{
    return process_of(bpf_get_current_task_btf());
}

static __always_inline struct process *begin_current(void)
{
    struct task_struct *task = bpf_get_current_task_btf();

    return begin(task->group_leader);
}

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct shield);
} shield SEC(".maps");

static __always_inline const struct shield *shield_in_force(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&shield, &zero);
}

/* Whether it is the process that told its number as the agent's: numbers are used again. */
static __always_inline bool is_the_agent(struct task_struct *leader)
{
    const struct settings *now = in_force();
    const struct shield *up;

    if (!now || now->agent != leader->tgid)
        return false;
    up = shield_in_force();
    return !up || !up->agent_started || up->agent_started == leader->start_boottime / TICK;
}

static __always_inline bool is_agent(const struct process *process)
{
    struct task_struct *task = bpf_get_current_task_btf();

    return (process && (process->flags & PROCESS_AGENT)) || is_the_agent(task->group_leader);
}

static __always_inline bool is_exempt(const struct process *process)
{
    return is_agent(process) || (process && process->program.trust == TRUST_EXEMPT);
}

/* The group of which a group has become a part in the end. */
static __always_inline __u64 whole_of(__u64 number)
{
    for (int i = 0; i < GENERATIONS; i++) {
        const struct group *group = bpf_map_lookup_elem(&groups, &number);

        if (!group || !group->next)
            break;
        number = group->next;
    }
    return number;
}

/* A group, and those that it has become a part of, are in use. */
static __always_inline void keep_groups(__u64 number)
{
    for (int i = 0; i < GENERATIONS && number; i++) {
        struct group *group = bpf_map_lookup_elem(&groups, &number);

        if (!group)
            return;
        group->round = count_of(COUNTER_ROUND);
        number = group->next;
    }
}

VERIFIED_ONCE int share(__u64 number, const struct label *label)
{
    struct group first = { .round = count_of(COUNTER_ROUND) };
    struct group *group;

    if (!label || !number)
        return 0;
    number = whole_of(number);
    group = bpf_map_lookup_elem(&groups, &number);
    if (group) {
        if (group->label.rank < label->rank)
            group->label = *label;
        return 0;
    }
    first.label = *label;
    if (bpf_map_update_elem(&groups, &number, &first, BPF_ANY))
        count(COUNTER_FULL);
    return 0;
}

/* Makes one of two groups a part of the other: the one that fewer are parts of, so that no way is long. */
VERIFIED_ONCE int unite(__u64 one, __u64 other)
{
    struct group first = { .round = count_of(COUNTER_ROUND) };
    struct group *part, *whole;

    one = whole_of(one);
    other = whole_of(other);
    if (one == other)
        return 0;
    bpf_map_update_elem(&groups, &one, &first, BPF_NOEXIST);
    bpf_map_update_elem(&groups, &other, &first, BPF_NOEXIST);
    part = bpf_map_lookup_elem(&groups, &one);
    whole = bpf_map_lookup_elem(&groups, &other);
    if (!part || !whole) {
        count(COUNTER_FULL);
        return 0;
    }
    if (part->depth > whole->depth) {
        struct group *deeper = part;

        part = whole;
        whole = deeper;
        other = one;
    }
    if (part->depth == whole->depth)
        whole->depth++;
    if (whole->label.rank < part->label.rank)
        whole->label = part->label;
    part->next = other;
    return 0;
}

/* `process` carries `label` from now on, and remembers the master. */
VERIFIED_ONCE int carry(struct process *process, const struct label *label)
{
    struct label joined;

    if (!process || !label)
        return 0;
    joined = *label;
    if (label->rank > process->label.rank) {
        joined.vault = 0;
        if (process->label.rank) {
            process->more[2] = process->more[1];
            process->more[1] = process->more[0];
            process->more[0] = process->label.master;
        }
        process->label = joined;
        share(process->group, &joined);
    } else if (label->master.id != process->label.master.id && label->master.id != process->more[0].id) {
        process->more[2] = process->more[1];
        process->more[1] = process->more[0];
        process->more[0] = label->master;
    }
    return 0;
}

#endif
