/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What was there before the guard: iterators over all processes, their open files and their mapped memory.
 */
#ifndef VITRINE_START_BPF_H
#define VITRINE_START_BPF_H

#include "message.bpf.h"

SEC("iter/task")
int find_programs(struct bpf_iter__task *context)
{
    struct task_struct *task = context->task;
    struct process *process;
    struct program *program;
    struct file *file;
    struct key key;

    if (!context->meta->seq_num)
        keep_joined();
    if (!task || task->group_leader != task)
        return 0;
    process = process_of(task);
    if (process) {
        keep_groups(process->group);
        rank_of(process);
    }
    file = BPF_CORE_READ(task, mm, exe_file);
    if (!file)
        return 0;
    key = key_at(BPF_CORE_READ(file, f_inode));
    program = bpf_map_lookup_elem(&programs, &key);
    process = program ? begin(task) : process;
    if (process && program)
        process->program = *program;
    else if (process)
        __builtin_memset(&process->program, 0, sizeof(process->program));
    return 0;
}

static __noinline void carry_held(struct task_struct *task, struct inode *inode, struct dentry *dentry)
{
    const struct settings *now = in_force();
    struct key key = key_at(inode);
    const struct label *own = bpf_map_lookup_elem(&labels, &key);
    struct process *process;
    struct ascent ascent = {};
    struct label label = {};

    if (!now || task->tgid == now->agent)
        return;
    if (own) {
        label = *own;
    } else {
        ascend(&ascent, number_of(dentry), key.space);
        if (!is_master(dentry, &ascent.collection))
            return;
        label.rank = ascent.collection.rank;
        label.master = key;
    }
    if (!label.rank || (label.flags & LABEL_BELOW))
        return;
    process = begin(task->group_leader);
    if (process && process->program.trust != TRUST_EXEMPT && !(process->flags & PROCESS_AGENT))
        carry(process, &label);
}

SEC("iter/task_file")
int find_open(struct bpf_iter__task_file *context)
{
    struct task_struct *task = context->task;
    struct file *file = context->file;

    if (!task || !file || !(file->f_mode & FMODE_READ))
        return 0;
    carry_held(task, file->f_inode, file->f_path.dentry);
    return 0;
}

SEC("iter/task_vma")
int find_mapped(struct bpf_iter__task_vma *context)
{
    struct task_struct *task = context->task;
    struct vm_area_struct *area = context->vma;
    struct file *file;

    if (!task || !area)
        return 0;
    file = area->vm_file;
    if (!file)
        return 0;
    carry_held(task, BPF_CORE_READ(file, f_inode), BPF_CORE_READ(file, f_path.dentry));
    return 0;
}

#endif
