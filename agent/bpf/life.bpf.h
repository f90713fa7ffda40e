/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of a process: it begins as a copy, becomes another program, is looked into, and ends.
 */
#ifndef VITRINE_LIFE_BPF_H
#define VITRINE_LIFE_BPF_H

#include "shield.bpf.h"
#include "source.bpf.h"

/* Two processes from now on carry the same. */
VERIFIED_ONCE int join(struct process *one, struct process *other)
{
    struct label label;
    __u64 *number;

    if (!one || !other)
        return 0;
    label = one->label.rank >= other->label.rank ? one->label : other->label;
    if (!one->group && !other->group) {
        number = counter(COUNTER_GROUPS);
        if (!number)
            return 0;
        one->group = __sync_fetch_and_add(number, 1) + 1;
    }
    if (!one->group)
        one->group = other->group;
    else if (!other->group)
        other->group = one->group;
    else
        unite(one->group, other->group);
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
    if (flags & (CLONE_VM | CLONE_FILES)) {
        crowd_together(process);
        child->crowd = process->crowd;
    } else if (process->crowd) {
        copy_crowd(process, child);
    }
    /* Who traces a process may trace its children from their beginning. */
    if ((flags & (CLONE_VM | CLONE_FILES)) || current->ptrace)
        join(process, child);
    child->crowded = process->crowded;
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
    stop_reading(process, task->pid);
    bpf_probe_read_kernel(own, sizeof(*own), process);
    return 0;
}

/* A named program takes nothing from its environment that would change what it does (ld.so(8), AT_SECURE). */
SEC("lsm/bprm_check_security")
int BPF_PROG(bprm_check_security, struct linux_binprm *bprm)
{
    struct key key = key_of(bprm->file->f_inode);
    const struct settings *now = in_force();
    const struct shield *up = shield_in_force();
    bool is_named = now && now->enforces && bpf_map_lookup_elem(&programs, &key);

    if (is_named || (up && up->mode == SHIELD_ENFORCE && (shelter_of(&key) & SHELTER_PROGRAM)))
        bpf_bprm_opts_set(bprm, BPF_F_BPRM_SECUREEXEC);
    return 0;
}

/* Whether the process at work, which has just become this program, may be the next agent. */
static __always_inline bool is_next(struct task_struct *task, const struct key *program)
{
    const struct shield *up = shield_in_force();

    return up && up->mode != SHIELD_OFF && !task->ptrace && (shelter_of(program) & SHELTER_PROGRAM) &&
           !BPF_CORE_READ(task, cred, uid.val) && is_manager(BPF_CORE_READ(task, real_parent, group_leader));
}

SEC("lsm/bprm_committed_creds")
int BPF_PROG(bprm_committed_creds, struct linux_binprm *bprm)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct key key = key_of(bprm->file->f_inode);
    const struct program *program = bpf_map_lookup_elem(&programs, &key);
    bool next = is_next(task, &key);
    struct process *process = program || next ? begin(task->group_leader) : process_of(task);
    struct program none = {};

    if (!process)
        return 0;
    rank_of(process);
    stop_reading(process, task->pid);
    process->program = program ? *program : none;
    /* Who traces it sees the memory of the next program, too. */
    if (!task->ptrace)
        process->group = 0;
    process->crowd = 0;
    process->crowded = 0;
    /* Of what the agent starts, its own program alone is the agent. */
    process->flags &= is_shield_up() && !(shelter_of(&key) & SHELTER_PROGRAM) ? 0 : PROCESS_AGENT;
    if (next)
        process->flags |= PROCESS_NEXT;
    process->mapped_ceiling = NO_CEILING;
    __builtin_memset(process->mapping, 0, sizeof(process->mapping));
    if (!program && !process->label.rank && !process->looked.rank && !process->flags && !process->group &&
        !process->name_bytes)
        bpf_task_storage_delete(&processes, task->group_leader);
    return 0;
}

/* What a thread has read stays with its process. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(thread_ends, struct task_struct *task)
{
    stop_reading(process_of(task), task->pid);
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
