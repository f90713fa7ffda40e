/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What processes carry, which program each one is, and what each may still come to carry.
 *
 * A reader that waits is asked before there is anything to read. So each thread's last pipe or socket that
 * might have made it wait is remembered, as is all memory that the process shares; `settle` looks at their
 * labels again before the process may write anything anywhere.
 */
#ifndef VITRINE_PROCESS_BPF_H
#define VITRINE_PROCESS_BPF_H

#include "descriptor.bpf.h"

#define WAITING 16
#define MAPPINGS 32
/* How often a group may become a part of another. */
#define GENERATIONS 4

#define PROCESS_AGENT 1
/* It runs code of a file that others than root may change. */
#define PROCESS_FOREIGN 2
/* Its label was handed to it by another process, and not read from a file. */
#define PROCESS_HANDED 4
/* It is about to make a symbolic link. */
#define PROCESS_LINKS 8

struct waiting {
    __u64 thread;
    struct key key;
};

struct mapping {
    struct key key;
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
    struct waiting waiting[WAITING];
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

static __always_inline struct process *process_of(struct task_struct *task)
{
    return bpf_task_storage_get(&processes, task->group_leader, 0, 0);
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

static __always_inline bool is_agent(const struct process *process)
{
    const struct settings *now = in_force();

    return (process && (process->flags & PROCESS_AGENT)) || (now && now->agent == bpf_get_current_pid_tgid() >> 32);
}

static __always_inline bool is_exempt(const struct process *process)
{
    return is_agent(process) || (process && process->program.trust == TRUST_EXEMPT);
}

VERIFIED_ONCE int share(__u64 number, const struct label *label)
{
    if (!label)
        return 0;
    for (int i = 0; i < GENERATIONS && number; i++) {
        struct group *group = bpf_map_lookup_elem(&groups, &number);
        struct group first = { .label = *label, .round = count_of(COUNTER_ROUND) };

        if (!group) {
            if (bpf_map_update_elem(&groups, &number, &first, BPF_ANY))
                count(COUNTER_FULL);
            return 0;
        }
        if (group->label.rank < label->rank)
            group->label = *label;
        number = group->next;
    }
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

static __always_inline void look_again(struct process *process, const struct key *key)
{
    const struct label *label;

    if (!key->space)
        return;
    label = label_at(key);
    if (label && label->rank > process->label.rank) {
        process->flags |= PROCESS_HANDED;
        carry(process, label);
    }
}

/* Brings what a process carries up to date. */
static __always_inline void settle(struct process *process)
{
    __u64 carriers = count_of(COUNTER_CARRIERS);

    if (process->settled == carriers)
        return;
    process->settled = carriers;
    for (int i = 0; i < WAITING; i++) {
        if (process->waiting[i].thread)
            look_again(process, &process->waiting[i].key);
    }
    for (int i = 0; i < MAPPINGS; i++)
        look_again(process, &process->mapping[i].key);
}

/* The groups of a living process are in use. */
static __always_inline void keep_groups(const struct process *process)
{
    __u64 number = process->group;

    for (int i = 0; i < GENERATIONS && number; i++) {
        struct group *group = bpf_map_lookup_elem(&groups, &number);

        if (!group)
            return;
        group->round = count_of(COUNTER_ROUND);
        number = group->next;
    }
}

/* The rank that a process carries now. */
VERIFIED_ONCE int rank_of(struct process *process)
{
    __u64 number;

    if (!process)
        return 0;
    settle(process);
    number = process->group;
    for (int i = 0; i < GENERATIONS && number; i++) {
        struct group *group = bpf_map_lookup_elem(&groups, &number);

        if (!group)
            break;
        if (group->label.rank > process->label.rank)
            carry(process, &group->label);
        number = group->next;
    }
    return process->label.rank;
}

/* A program that is trusted to copy carries what it has read only while it has something labelled open or mapped. */
VERIFIED_ONCE int lay_down(struct process *process)
{
    if (!process || (process->flags & PROCESS_HANDED) || process->group || holds_labelled())
        return 0;
    for (int i = 0; i < MAPPINGS; i++) {
        const struct mapping *mapping = &process->mapping[i];
        const struct label *label = mapping->key.space ? label_at(&mapping->key) : NULL;

        if (label && label->rank)
            return 0;
    }
    __builtin_memset(&process->label, 0, sizeof(process->label));
    for (int i = 0; i < WAITING; i++)
        process->waiting[i].thread = 0;
    return 1;
}

/* The process at work, if it carries anything that counts. */
static __always_inline struct process *tainted(void)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct process *process = process_of(task);

    if (!process || is_exempt(process) || !rank_of(process))
        return NULL;
    if (process->program.trust == TRUST_COPIER && lay_down(process))
        return NULL;
    return process;
}

/* Two processes from now on carry the same. */
VERIFIED_ONCE int join(struct process *one, struct process *other)
{
    struct group part = { .round = count_of(COUNTER_ROUND) };
    struct label label;
    __u64 *number;

    if (!one || !other)
        return 0;
    label = one->label.rank >= other->label.rank ? one->label : other->label;
    part.label = label;
    if (!one->group && !other->group) {
        number = counter(COUNTER_GROUPS);
        if (!number)
            return 0;
        one->group = __sync_fetch_and_add(number, 1) + 1;
    }
    if (!one->group)
        one->group = other->group;
    if (other->group && other->group != one->group) {
        __u64 old = other->group;

        part.next = one->group;
        if (bpf_map_update_elem(&groups, &old, &part, BPF_ANY))
            count(COUNTER_FULL);
    }
    other->group = one->group;
    if (label.rank)
        share(one->group, &label);
    return 0;
}

SEC("lsm/task_alloc")
int BPF_PROG(task_alloc, struct task_struct *task, unsigned long flags)
{
    struct task_struct *current = bpf_get_current_task_btf();
    struct process *process, *child;

    if (flags & CLONE_THREAD) {
        const struct settings *now = in_force();

        if (now && now->agent == current->tgid)
            count(COUNTER_ASKED);
        return 0;
    }
    process = process_of(current);
    if (flags & (CLONE_VM | CLONE_FILES))
        process = begin(current->group_leader);
    if (is_agent(process)) {
        child = begin(task);
        if (child)
            child->flags |= PROCESS_AGENT;
        return 0;
    }
    if (!process)
        return 0;
    child = begin(task);
    if (!child)
        return -ENOMEM;
    rank_of(process);
    child->label = process->label;
    child->more[0] = process->more[0];
    child->more[1] = process->more[1];
    child->more[2] = process->more[2];
    child->program = process->program;
    child->flags = process->flags;
    child->mapped_ceiling = process->mapped_ceiling;
    child->name_bytes = process->name_bytes;
    for (int i = 0; i < MAPPINGS; i++)
        child->mapping[i] = process->mapping[i];
    if (flags & (CLONE_VM | CLONE_FILES))
        join(process, child);
    return 0;
}

/* A thread that is not the first becomes the whole process, and what is known of that stays with the first. */
SEC("lsm/bprm_creds_for_exec")
int BPF_PROG(bprm_creds_for_exec, struct linux_binprm *bprm)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct process *process, *own;

    if (task->group_leader == task)
        return 0;
    process = process_of(task);
    if (!process)
        return 0;
    own = bpf_task_storage_get(&processes, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (!own)
        return -ENOMEM;
    rank_of(process);
    bpf_probe_read_kernel(own, sizeof(*own), process);
    return 0;
}

/* A named program takes nothing from its environment that would change what it does (ld.so(8), AT_SECURE). */
SEC("lsm/bprm_check_security")
int BPF_PROG(bprm_check_security, struct linux_binprm *bprm)
{
    struct key key = key_of(bprm->file->f_inode);
    const struct settings *now = in_force();

    if (now && now->enforces && bpf_map_lookup_elem(&programs, &key))
        bpf_bprm_opts_set(bprm, BPF_F_BPRM_SECUREEXEC);
    return 0;
}

SEC("lsm/bprm_committed_creds")
int BPF_PROG(bprm_committed_creds, struct linux_binprm *bprm)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct key key = key_of(bprm->file->f_inode);
    const struct program *program = bpf_map_lookup_elem(&programs, &key);
    struct process *process = program ? begin(task->group_leader) : process_of(task);
    struct program none = {};

    if (!process)
        return 0;
    rank_of(process);
    process->program = program ? *program : none;
    process->group = 0;
    process->flags &= PROCESS_AGENT;
    process->mapped_ceiling = NO_CEILING;
    for (int i = 0; i < WAITING; i++)
        process->waiting[i].thread = 0;
    __builtin_memset(process->mapping, 0, sizeof(process->mapping));
    return 0;
}

/* Who attaches to a process, or reads and writes its memory, carries what it carries, and the reverse. */
static __always_inline int look_into(struct task_struct *looker, struct task_struct *task)
{
    struct process *one = begin(looker->group_leader);
    struct process *other = begin(task->group_leader);

    if (!one || !other)
        return -ENOMEM;
    if (is_exempt(one))
        return 0;
    rank_of(one);
    rank_of(other);
    /* It is no longer alone, and what it does is not its program's. */
    other->flags |= PROCESS_FOREIGN;
    join(one, other);
    return 0;
}

SEC("lsm/ptrace_traceme")
int BPF_PROG(ptrace_traceme, struct task_struct *parent)
{
    return answer(look_into(parent, bpf_get_current_task_btf()));
}

#endif
