/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reading: who may, and what the reader carries from then on. A vault opens to the programs that the policy
 * names for it alone; in every other case reading is allowed unless the reader holds a lower destination.
 */
#ifndef VITRINE_TAKE_BPF_H
#define VITRINE_TAKE_BPF_H

#include "held.bpf.h"

static __always_inline bool may_open(const struct process *process, __u8 vault)
{
    struct task_struct *task = bpf_get_current_task_btf();

    if (!process || (process->flags & PROCESS_FOREIGN) || BPF_CORE_READ(task, ptrace))
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

/* Bytes are read from a carrier that may have none yet. */
VERIFIED_ONCE int take_from(const struct key *key, __u32 waits)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct process *process = process_of(task);
    const struct label *label;
    struct label copy;

    if (!key)
        return 0;
    if (waits && !is_exempt(process)) {
        struct waiting *waiting;

        process = begin(task->group_leader);
        if (!process)
            return -ENOMEM;
        waiting = &process->waiting[task->pid & (WAITING - 1)];
        if (waiting->key.id != key->id || waiting->key.space != key->space || waiting->thread != task->pid) {
            if (waiting->thread && waiting->thread != task->pid)
                look_again(process, &waiting->key);
            waiting->key = *key;
            waiting->thread = task->pid;
        }
    }
    if (!count_of(COUNTER_CARRIERS))
        return 0;
    label = label_at(key);
    if (!label || !label->rank)
        return 0;
    copy = *label;
    return take(&copy);
}

/* A process writes into a carrier. */
VERIFIED_ONCE int give(const struct key *key)
{
    struct process *process = tainted();

    if (key && process && raise(key, &process->label, LABEL_INHERITED))
        count(COUNTER_CARRIERS);
    return 0;
}

/* Remembers that memory is shared by way of `key`. */
VERIFIED_ONCE int remember(const struct key *key, __u32 writes)
{
    struct process *process = begin_current();

    if (!process || !key)
        return -ENOMEM;
    for (int i = 0; i < MAPPINGS; i++) {
        struct mapping *mapping = &process->mapping[i];

        if (!mapping->key.space || (mapping->key.space == key->space && mapping->key.id == key->id)) {
            mapping->key = *key;
            mapping->writes |= writes;
            process->settled = 0;
            return 0;
        }
    }
    count(COUNTER_CROWDED);
    return 0;
}

#endif
