/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reading: who may, and what the reader carries from then on. A vault opens to the programs that the policy
 * names for it alone; in every other case reading is allowed unless the reader holds a lower destination.
 */
#ifndef VITRINE_TAKE_BPF_H
#define VITRINE_TAKE_BPF_H

#include "held.bpf.h"
#include "life.bpf.h"

static __always_inline bool may_open(const struct process *process, __u8 vault)
{
    struct task_struct *task = bpf_get_current_task_btf();

    if (!process || (process->flags & PROCESS_FOREIGN) || task->ptrace)
        return false;
    return process->program.vaults >> (vault & 63) & 1;
}

/* The process carries the label, and so does all that it shares with others. */
static __always_inline int absorb(struct process *process, const struct label *label)
{
    bool rises;

    if (!process || !label)
        return 0;
    rises = label->rank > process->label.rank;
    carry(process, label);
    if (rises)
        label_held(process, label);
    return 0;
}

static __always_inline bool carries(struct process *process, const struct label *label)
{
    if (!process || process->label.rank < label->rank)
        return false;
    carry(process, label);
    return true;
}

/* A labelled file (its dentry's number) is read, mapped or received, by whatever way. */
VERIFIED_ONCE int take_file(__u64 dentry, const struct label *label, __u32 operation)
{
    struct process *process = current_process();
    struct target target = {};
    int outcome;

    if (!label || is_agent(process))
        return 0;
    if (label->vault && !may_open(process, label->vault)) {
        target.kind = TARGET_FILE;
        target.key = label->master;
        target.ceiling = NO_CEILING;
        target.dentry = dentry;
        outcome = refuse(OPERATION_OPEN, process, label, &target);
        if (outcome)
            return outcome;
    }
    if (is_exempt(process) || carries(process, label))
        return 0;
    process = begin_current();
    if (!process)
        return -ENOMEM;
    if (process->mapped_ceiling < label->rank || holds_lower(label, &target)) {
        target.kind = target.kind ?: TARGET_FILE;
        outcome = refuse(operation, process, label, &target);
        if (outcome)
            return outcome;
    }
    absorb(process, label);
    return 0;
}

/* Something else that carries a label is read: it cannot be taken back from who reads. */
VERIFIED_ONCE int take(const struct label *label)
{
    struct process *process = current_process();
    struct target target = { .kind = TARGET_FILE };
    int outcome;

    if (!label || is_exempt(process) || carries(process, label))
        return 0;
    process = begin_current();
    if (!process)
        return -ENOMEM;
    if (process->mapped_ceiling < label->rank) {
        outcome = refuse(OPERATION_OPEN, process, label, &target);
        if (outcome)
            return outcome;
    }
    process->flags |= PROCESS_HANDED;
    absorb(process, label);
    return 0;
}

/* Bytes are read from a source that may carry nothing yet. */
VERIFIED_ONCE int take_from(const struct source *source)
{
    struct task_struct *task = bpf_get_current_task_btf();
    __u64 carriers = count_of(COUNTER_CARRIERS);
    struct process *process;
    struct reading *reading;
    struct label label = {};
    __u32 thread = task->pid;
    int outcome;

    if (!source)
        return 0;
    reading = bpf_map_lookup_elem(&readings, &thread);
    if (reading && is_same(&reading->source, source)) {
        if (reading->carriers == carriers)
            return 0;
    } else {
        process = process_of(task);
        if (is_exempt(process))
            return 0;
        outcome = read_from(begin(task->group_leader), source);
        if (outcome)
            return outcome;
        /* Replaced by another. */
        reading = NULL;
    }
    weigh_carrier(&label, &source->key);
    if (label.rank)
        return take(&label);
    if (reading)
        reading->carriers = carriers;
    return 0;
}

/* A process writes into a carrier. */
VERIFIED_ONCE int give(const struct key *key)
{
    struct process *process = tainted();

    if (key && process)
        label_carrier(key, &process->label);
    return 0;
}

#endif
