/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the agent is told. The answer never waits for it: an event that finds no room is counted.
 */
#ifndef VITRINE_REPORT_BPF_H
#define VITRINE_REPORT_BPF_H

#include "process.bpf.h"

/* Within this time (nanoseconds) the same process and destination make one event. */
#define SAME 2000000000ULL
#define PART 256
#define PARTS 32

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 2 * 1024 * 1024);
} events SEC(".maps");

struct attempt {
    __u32 process;
    __u32 operation;
    struct key target;
};

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 8192);
    __type(key, struct attempt);
    __type(value, __u64);
} told SEC(".maps");

/* Where bytes would go. */
struct target {
    __u8 kind;
    __u8 ceiling;
    __u16 port;
    __u16 family;
    __u16 protocol;
    struct key key;
    __u8 address[16];
    /* Of a file. */
    __u64 dentry;
};

struct naming {
    char *text;
    __u64 room;
    __u64 at;
    __u64 dentry;
};

static long write_name(__u32 number, struct naming *naming)
{
    struct dentry *dentry = (struct dentry *)naming->dentry;
    struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
    __u64 at = naming->at;
    long length;

    if (!parent || parent == dentry || at >= naming->room)
        return 1;
    length = bpf_probe_read_kernel_str(naming->text + at, PART, BPF_CORE_READ(dentry, d_name.name));
    if (length <= 0 || length > PART)
        return 1;
    naming->at = at + length;
    naming->dentry = (__u64)parent;
    return 0;
}

/* The names from a file up to the root of its file system, each ended by a zero byte, and one more at the end. */
static __always_inline void write_names(char *text, __u64 size, __u64 dentry)
{
    struct naming naming = { .text = text, .room = size - PART - 1, .dentry = dentry };
    __u64 at;

    bpf_loop(PARTS, write_name, &naming, 0);
    at = naming.at;
    text[at < size ? at : 0] = 0;
}

static __always_inline void write_process(struct event *event)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct task_struct *leader = task->group_leader;
    struct task_struct *parent = leader;

    event->process = task->tgid;
    event->thread = task->pid;
    event->user = bpf_get_current_uid_gid();
    event->session = task->sessionid;
    event->started = leader->start_boottime;
    bpf_get_current_comm(event->command, sizeof(event->command));
    for (int i = 0; i < PARENTS; i++) {
        parent = BPF_CORE_READ(parent, real_parent, group_leader);
        event->parents[i] = parent ? BPF_CORE_READ(parent, tgid) : 0;
    }
}

static __always_inline struct event *begin_event(__u8 kind, const struct target *target)
{
    struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

    if (!event) {
        count(kind == EVENT_ATTEMPT || kind == EVENT_TOUCHED ? COUNTER_UNTOLD : COUNTER_UNMEASURED);
        return NULL;
    }
    __builtin_memset(event, 0, __builtin_offsetof(struct event, target_text));
    event->target_text[0] = 0;
    event->program_text[0] = 0;
    event->kind = kind;
    event->target_kind = target->kind;
    event->target = target->key;
    event->ceiling = target->ceiling;
    event->port = target->port;
    event->family = target->family;
    event->protocol = target->protocol;
    __builtin_memcpy(event->address, target->address, sizeof(event->address));
    write_process(event);
    if (target->dentry)
        write_names(event->target_text, TARGET_TEXT, target->dentry);
    return event;
}

static __always_inline void write_program(struct event *event)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct file *file = BPF_CORE_READ(task, mm, exe_file);

    if (!file)
        return;
    event->executable = key_at(BPF_CORE_READ(file, f_inode));
    write_names(event->program_text, PROGRAM_TEXT, (__u64)BPF_CORE_READ(file, f_path.dentry));
}

/* An attempt that the policy refuses: it is told of once, and answered as the mode says. */
VERIFIED_ONCE int refuse(__u32 operation, const struct process *process, const struct label *label,
                         const struct target *target)
{
    const struct settings *now = in_force();
    struct task_struct *task = bpf_get_current_task_btf();
    bool enforces = now && now->enforces;
    struct attempt attempt = { .process = task->tgid, .operation = operation };
    __u64 time = bpf_ktime_get_boot_ns();
    struct event *event;
    __u64 *last;

    if (!label || !target)
        return enforces ? -EPERM : 0;
    attempt.target = target->key;
    last = bpf_map_lookup_elem(&told, &attempt);
    if (last && time - *last < SAME)
        return enforces ? -EPERM : 0;
    event = begin_event(EVENT_ATTEMPT, target);
    if (event) {
        bpf_map_update_elem(&told, &attempt, &time, BPF_ANY);
        event->operation = operation;
        event->denied = enforces;
        event->label = *label;
        if (process) {
            event->program = process->program.number;
            event->more[0] = process->more[0];
            event->more[1] = process->more[1];
            event->more[2] = process->more[2];
        }
        write_program(event);
        bpf_ringbuf_submit(event, 0);
    }
    return enforces ? -EPERM : 0;
}

/* A file that has to be looked at: it was labelled by `process`, or comes to a destination without a label. */
VERIFIED_ONCE int tell(__u32 kind, const struct process *process, const struct target *target)
{
    struct event *event;

    if (!target)
        return 0;
    event = begin_event(kind, target);
    if (!event)
        return 0;
    if (process) {
        event->label = process->label;
        event->more[0] = process->more[0];
        event->more[1] = process->more[1];
        event->more[2] = process->more[2];
        event->program = process->program.number;
    }
    write_program(event);
    bpf_ringbuf_submit(event, 0);
    return 0;
}

#endif
