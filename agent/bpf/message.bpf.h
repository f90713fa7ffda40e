/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Carriers that are no files: message queues, semaphores, signals and keys; and processes that look into others.
 */
#ifndef VITRINE_MESSAGE_BPF_H
#define VITRINE_MESSAGE_BPF_H

#include "file.bpf.h"

static __always_inline struct key queue_key(struct kern_ipc_perm *queue)
{
    struct key key = { .space = SPACE_QUEUE, .id = number_of(queue) };

    return key;
}

SEC("lsm/msg_queue_msgsnd")
int BPF_PROG(msg_queue_msgsnd, struct kern_ipc_perm *queue)
{
    struct key key = queue_key(queue);

    give(&key);
    return 0;
}

/* Another process is given what carries a label, whether it asks for it or not. */
static __noinline int hand_to(struct task_struct *task, const struct label *label)
{
    struct process *process = begin(task->group_leader);

    if (!process)
        return -ENOMEM;
    if (process->program.trust != TRUST_EXEMPT && !(process->flags & PROCESS_AGENT)) {
        process->flags |= PROCESS_HANDED;
        carry(process, label);
    }
    return 0;
}

/* Called for who receives, by himself or by the sender who finds him waiting. */
SEC("lsm/msg_queue_msgrcv")
int BPF_PROG(msg_queue_msgrcv, struct kern_ipc_perm *queue, void *message, struct task_struct *receiver)
{
    struct key key = queue_key(queue);
    const struct label *label = bpf_map_lookup_elem(&labels, &key);

    return label && label->rank ? hand_to(receiver, label) : 0;
}

SEC("lsm/msg_queue_free_security")
int BPF_PROG(msg_queue_free_security, struct kern_ipc_perm *queue)
{
    struct key key = queue_key(queue);

    bpf_map_delete_elem(&labels, &key);
    return 0;
}

static __always_inline struct source semaphores_of(struct kern_ipc_perm *set)
{
    struct source source = { .key = queue_key(set), .generation = BPF_CORE_READ(set, id) };

    return source;
}

static __always_inline int use_semaphores(struct kern_ipc_perm *set, bool reads, bool writes)
{
    struct source source = semaphores_of(set);

    if (writes)
        give(&source.key);
    return reads ? answer(take_from(&source)) : 0;
}

/* Who waits for a semaphore learns that it was raised. */
SEC("lsm/sem_semop")
int BPF_PROG(sem_semop, struct kern_ipc_perm *set, void *operations, unsigned int number, int alters)
{
    return use_semaphores(set, true, alters);
}

SEC("lsm/sem_semctl")
int BPF_PROG(sem_semctl, struct kern_ipc_perm *set, int command)
{
    bool writes = command == SETVAL || command == SETALL;

    return use_semaphores(set, !writes, writes);
}

SEC("lsm/sem_free_security")
int BPF_PROG(sem_free_security, struct kern_ipc_perm *set)
{
    struct source source = semaphores_of(set);

    retire(&source.key, source.generation);
    return 0;
}

/* A signal that brings a value along (sigqueue(3)). */
SEC("lsm/task_kill")
int BPF_PROG(task_kill, struct task_struct *receiver, struct kernel_siginfo *info, int number)
{
    int code = BPF_CORE_READ(info, si_code);
    struct process *process;

    if (shelter_from_signal(receiver, number))
        return -EPERM;
    if (code >= 0 || code == SI_TKILL)
        return 0;
    process = tainted();
    return process ? answer(hand_to(receiver, &process->label)) : 0;
}

static __always_inline struct key keyring_key(const void *pointer)
{
    struct key key = { .space = SPACE_KEYRING, .id = number_of(pointer) & ~1ULL };

    return key;
}

SEC("lsm/key_alloc")
int BPF_PROG(key_alloc, void *pointer)
{
    struct key key = keyring_key(pointer);

    /* Addresses in memory are used again. */
    if (tainted())
        give(&key);
    else
        bpf_map_delete_elem(&labels, &key);
    return 0;
}

SEC("lsm/key_permission")
int BPF_PROG(key_permission, void *reference, void *cred, int need)
{
    struct source source = { .key = { .space = SPACE_KEYRING } };

    /* The verifier does not know the type of the first argument, but who reads it as memory may. */
    bpf_probe_read_kernel(&source.key.id, sizeof(source.key.id), ctx);
    source.key.id &= ~1ULL;

    if (need == KEY_NEED_WRITE)
        give(&source.key);
    if (need == KEY_NEED_READ || need == KEY_NEED_VIEW)
        return answer(take_from(&source));
    return 0;
}

/* Nobody looks into a program that may open a vault; once it has read a master, that is told of. */
static __noinline int guard_opener(struct process *looker, struct process *process)
{
    const struct settings *now = in_force();
    struct target target = { .kind = TARGET_FILE, .ceiling = NO_CEILING };
    struct label label = {};
    const struct label *master;

    if (!rank_of(process))
        return now && now->enforces;
    label = process->label;
    master = label_at(&label.master);
    label.vault = master ? master->vault : 0;
    target.key = label.master;
    return refuse(OPERATION_OPEN, looker, &label, &target);
}

/* Attaching reads and writes memory, and takes descriptors; a mere look lets links of /proc be opened. */
SEC("lsm/ptrace_access_check")
int BPF_PROG(ptrace_access_check, struct task_struct *child, unsigned int mode)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct process *looker, *process = process_of(child);

    if (child->group_leader == task->group_leader)
        return 0;
    if (mode & PTRACE_MODE_ATTACH) {
        if (shelter_process(child, OPERATION_LOOK_INTO, 0))
            return -EPERM;
        looker = current_process();
        if (process && process->program.vaults && !is_exempt(looker) && guard_opener(looker, process))
            return -EPERM;
        return answer(look_into(task, child));
    }
    if (!process || !rank_of(process))
        return 0;
    looker = begin_current();
    if (looker && process->label.rank > looker->looked.rank)
        looker->looked = process->label;
    return 0;
}

#endif
