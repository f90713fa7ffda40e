/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The open files of the process at work.
 */
#ifndef VITRINE_DESCRIPTOR_BPF_H
#define VITRINE_DESCRIPTOR_BPF_H

#include "label.bpf.h"

#define MAX_DESCRIPTORS 65536

struct descriptors {
    struct file **files;
    __u32 number;
};

static __always_inline struct descriptors descriptors(void)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct fdtable *table = BPF_CORE_READ(task, files, fdt);
    struct descriptors all = { .files = BPF_CORE_READ(table, fd), .number = BPF_CORE_READ(table, max_fds) };

    return all;
}

static __always_inline struct file *descriptor(const struct descriptors *all, __u32 number)
{
    struct file *file = NULL;

    bpf_probe_read_kernel(&file, sizeof(file), all->files + number);
    return file;
}

static __always_inline __u16 kind_of(const struct inode *inode)
{
    return inode->i_mode & S_IFMT;
}

static __always_inline __u16 kind_at(const struct inode *inode)
{
    return BPF_CORE_READ(inode, i_mode) & S_IFMT;
}

struct search {
    struct descriptors all;
    __u32 found;
};

static long look_for_label(__u32 number, struct search *search)
{
    struct ascent ascent = {};
    const struct label *own;
    struct dentry *dentry;
    struct inode *inode;
    struct file *file;
    struct key key;

    if (number >= search->all.number)
        return 1;
    file = descriptor(&search->all, number);
    if (!file || !(BPF_CORE_READ(file, f_mode) & FMODE_READ))
        return 0;
    inode = BPF_CORE_READ(file, f_inode);
    key = key_at(inode);
    own = bpf_map_lookup_elem(&labels, &key);
    if (own) {
        search->found = own->rank && !(own->flags & LABEL_BELOW);
    } else if (kind_at(inode) == S_IFREG) {
        dentry = BPF_CORE_READ(file, f_path.dentry);
        ascend(&ascent, (__u64)dentry, key.space);
        search->found = is_master(dentry, &ascent.collection);
    }
    return search->found != 0;
}

/* Whether anything labelled is open to be read. */
VERIFIED_ONCE int holds_labelled(void)
{
    struct search search = { .all = descriptors() };

    bpf_loop(MAX_DESCRIPTORS, look_for_label, &search, 0);
    return search.found;
}

#endif
