/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What each process may still come to carry.
 *
 * A reader that waits is asked before there is anything to read, and who has mapped memory is not asked at all.
 * So the last source that each thread has read from is remembered until it reads from another one or ends, and
 * all memory that a process shares. `settle` looks at their labels again before the process may write anything
 * anywhere. What comes to an end meanwhile leaves its label behind, until every process has been settled.
 */
#ifndef VITRINE_SOURCE_BPF_H
#define VITRINE_SOURCE_BPF_H

#include "carrier.bpf.h"

#define MAX_THREADS 65536
/* What a crowd keeps for certain of one process; the oldest entries of all go first. */
#define CROWD 4096

/* The last source of a thread. */
struct reading {
    struct source source;
    /* How many carriers had a label when this one was found to have none. */
    __u64 carriers;
    /* An io_uring of the thread moves from it at this moment. */
    __u64 splices;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 65536);
    __type(key, __u32);
    __type(value, struct reading);
} readings SEC(".maps");

/* Labels of what has come to an end. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 65536);
    __type(key, struct source);
    __type(value, struct ended);
} past SEC(".maps");

struct member {
    __u64 crowd;
    struct source source;
};

/* Sources of processes that share their memory with others, or have more of them than `struct process` holds. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct member);
    __type(value, __u64);
} crowds SEC(".maps");

static __always_inline struct source source_of(struct inode *inode)
{
    struct source source = { .key = key_of(inode), .generation = inode->i_generation };

    return source;
}

static __always_inline bool is_same(const struct source *one, const struct source *other)
{
    return one->key.id == other->key.id && one->key.space == other->key.space &&
           one->generation == other->generation;
}

/* What `key` named has come to an end: its label stays for those who have read from it. */
VERIFIED_ONCE int retire(const struct key *key, __u64 generation)
{
    struct source source = { .generation = generation };
    struct ended ended = { .round = count_of(COUNTER_ROUND) };

    if (!key)
        return 0;
    source.key = *key;
    if (!label_at(&source.key) && !group_of(&source.key))
        return 0;
    weigh_carrier(&ended.label, &source.key);
    if (ended.label.rank && bpf_map_update_elem(&past, &source, &ended, BPF_ANY))
        count(COUNTER_FULL);
    bpf_map_delete_elem(&labels, &source.key);
    if (count_of(COUNTER_JOINED))
        bpf_map_delete_elem(&joined, &source.key);
    return 0;
}

struct finding {
    const struct process *process;
    __u64 next;
    __u64 end;
    __u64 crowd;
    struct label best;
};

/* What is best of what was weighed is carried: others have handed it over. */
static __always_inline void hand_over(struct process *process, const struct label *best)
{
    if (best->rank <= process->label.rank)
        return;
    process->flags |= PROCESS_HANDED;
    carry(process, best);
}

static __always_inline int weigh(struct label *best, const struct source *source)
{
    struct source copy = *source;
    const struct ended *ended = bpf_map_lookup_elem(&past, &copy);

    if (ended && ended->label.rank > best->rank)
        *best = ended->label;
    return weigh_carrier(best, &copy.key);
}

/* Remembers a source for a whole crowd. */
VERIFIED_ONCE int enrol(__u64 crowd, const struct source *source, __u64 writes)
{
    struct member member = { .crowd = crowd };
    __u64 *known;

    if (!source)
        return 0;
    member.source = *source;
    known = bpf_map_lookup_elem(&crowds, &member);
    if (known) {
        *known |= writes;
        return 0;
    }
    bpf_map_update_elem(&crowds, &member, &writes, BPF_ANY);
    return 1;
}

/* The next thread of a process: what it reads from is remembered for the crowd, or weighed where there is none. */
static long look_at_thread(__u32 number, struct finding *finding)
{
    const struct reading *reading;
    struct task_struct *task;
    __u32 thread;

    if (!finding->next || finding->next == finding->end)
        return 1;
    task = (void *)(finding->next - bpf_core_field_offset(struct task_struct, thread_node));
    finding->next = (__u64)BPF_CORE_READ(task, thread_node.next);
    thread = BPF_CORE_READ(task, pid);
    reading = bpf_map_lookup_elem(&readings, &thread);
    if (reading && finding->crowd)
        enrol(finding->crowd, &reading->source, 0);
    else if (reading)
        weigh(&finding->best, &reading->source);
    return 0;
}

static long weigh_mapping(__u32 number, struct finding *finding)
{
    const struct process *process = finding->process;

    if (number >= MAPPINGS || !process->mapping[number].source.key.space)
        return 1;
    weigh(&finding->best, &process->mapping[number].source);
    return 0;
}

static long weigh_member(void *map, const struct member *member, const __u64 *writes, struct finding *finding)
{
    if (member->crowd == finding->crowd)
        weigh(&finding->best, &member->source);
    return 0;
}

/* Looks at all threads of a process. */
static __always_inline void look_at_threads(struct finding *finding, const struct process *process)
{
    struct signal_struct *signal = (void *)process->signal;

    if (!signal)
        return;
    finding->end = process->signal + bpf_core_field_offset(struct signal_struct, thread_head);
    finding->next = (__u64)BPF_CORE_READ(signal, thread_head.next);
    bpf_loop(MAX_THREADS, look_at_thread, finding, 0);
}

/* Brings what a process carries up to date. */
VERIFIED_ONCE int settle(struct process *process)
{
    __u64 carriers = count_of(COUNTER_CARRIERS);
    struct finding finding = { .process = process };

    if (!process || process->settled == carriers)
        return 0;
    process->settled = carriers;
    bpf_loop(MAPPINGS, weigh_mapping, &finding, 0);
    look_at_threads(&finding, process);
    if (process->crowd) {
        finding.crowd = process->crowd;
        bpf_for_each_map_elem(&crowds, weigh_member, &finding, 0);
    }
    hand_over(process, &finding.best);
    return 0;
}

/* The rank that a process carries now. */
VERIFIED_ONCE int rank_of(struct process *process)
{
    struct group *group;
    __u64 number;

    if (!process)
        return 0;
    settle(process);
    if (process->group) {
        number = whole_of(process->group);
        group = bpf_map_lookup_elem(&groups, &number);
        if (group && group->label.rank > process->label.rank)
            carry(process, &group->label);
    }
    return process->label.rank;
}

/* From now on others use the memory of `process`: what it may come to carry is kept for all of them. */
VERIFIED_ONCE int crowd_together(struct process *process)
{
    struct finding finding = {};
    __u64 *number;

    if (!process)
        return 0;
    if (!process->crowd) {
        number = counter(COUNTER_GROUPS);
        if (!number)
            return 0;
        process->crowd = __sync_fetch_and_add(number, 1) + 1;
    }
    finding.crowd = process->crowd;
    look_at_threads(&finding, process);
    return 0;
}

struct copying {
    __u64 from;
    __u64 to;
};

static long copy_member(void *map, const struct member *member, const __u64 *writes, struct copying *copying)
{
    struct source source = member->source;

    if (member->crowd == copying->from)
        enrol(copying->to, &source, *writes);
    return 0;
}

/* A copy of a process has a copy of its memory, and may share it with others itself. */
VERIFIED_ONCE int copy_crowd(struct process *process, struct process *child)
{
    struct copying copying = {};

    if (!process || !child)
        return 0;
    crowd_together(child);
    copying.from = process->crowd;
    copying.to = child->crowd;
    bpf_for_each_map_elem(&crowds, copy_member, &copying, 0);
    return 0;
}

/* Remembers that the thread at work reads from `source`, and what it has read from the one before. */
VERIFIED_ONCE int read_from(struct process *process, const struct source *source)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct reading now = {};
    const struct reading *before;
    struct label best = {};
    __u32 thread = task->pid;

    if (!process || !source)
        return -ENOMEM;
    now.source = *source;
    before = bpf_map_lookup_elem(&readings, &thread);
    if (before && count_of(COUNTER_CARRIERS)) {
        weigh(&best, &before->source);
        hand_over(process, &best);
    }
    if (!process->signal)
        process->signal = (__u64)BPF_CORE_READ(task, signal);
    if (bpf_map_update_elem(&readings, &thread, &now, BPF_ANY))
        return -ENOMEM;
    if (process->crowd)
        enrol(process->crowd, &now.source, 0);
    return 0;
}

/* A thread has ended, or a process has become another program: it reads from nowhere. */
VERIFIED_ONCE int stop_reading(struct process *process, __u32 thread)
{
    const struct reading *before = bpf_map_lookup_elem(&readings, &thread);
    struct label best = {};

    if (!before)
        return 0;
    weigh(&best, &before->source);
    if (process)
        hand_over(process, &best);
    bpf_map_delete_elem(&readings, &thread);
    return 0;
}

struct remembering {
    struct process *process;
    const struct source *source;
    __u32 writes;
    bool done;
};

static long remember_mapping(__u32 number, struct remembering *remembering)
{
    struct process *process = remembering->process;
    struct mapping *mapping;

    if (number >= MAPPINGS)
        return 1;
    mapping = &process->mapping[number];
    if (mapping->source.key.space && !is_same(&mapping->source, remembering->source))
        return 0;
    mapping->source = *remembering->source;
    mapping->writes |= remembering->writes;
    remembering->done = true;
    return 1;
}

/* Remembers that memory is shared by way of `source`. */
VERIFIED_ONCE int remember(struct process *process, const struct source *source, __u32 writes)
{
    struct remembering remembering = { .process = process, .source = source, .writes = writes };

    if (!process || !source)
        return -ENOMEM;
    process->settled = 0;
    if (!process->crowd)
        bpf_loop(MAPPINGS, remember_mapping, &remembering, 0);
    if (remembering.done)
        return 0;
    crowd_together(process);
    if (enrol(process->crowd, source, writes) && process->crowded++ >= CROWD)
        count(COUNTER_CROWDED);
    return 0;
}

/* A program that is trusted to copy carries what it has read only while it has something labelled open or mapped. */
VERIFIED_ONCE int lay_down(struct process *process)
{
    struct finding finding = { .process = process };

    if (!process || (process->flags & PROCESS_HANDED) || process->group || process->crowd || holds_labelled())
        return 0;
    bpf_loop(MAPPINGS, weigh_mapping, &finding, 0);
    if (finding.best.rank)
        return 0;
    __builtin_memset(&process->label, 0, sizeof(process->label));
    return 1;
}

static __always_inline bool is_settled(const struct process *process)
{
    return process->settled == count_of(COUNTER_CARRIERS) && !process->group;
}

/* The process at work, if it carries anything that counts. */
static __always_inline struct process *tainted(void)
{
    struct process *process = current_process();

    if (!process || (is_settled(process) && !process->label.rank))
        return NULL;
    if (is_exempt(process) || !rank_of(process))
        return NULL;
    if (process->program.trust == TRUST_COPIER && lay_down(process))
        return NULL;
    return process;
}

#endif
