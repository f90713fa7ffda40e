/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a process holds open at the moment at which it comes to carry a label: a destination below that label
 * forbids it, and what it could fill without being asked (a pipe by vmsplice(2), a message queue) is
 * labelled with it.
 */
#ifndef VITRINE_HELD_BPF_H
#define VITRINE_HELD_BPF_H

#include "network.bpf.h"
#include "source.bpf.h"

struct holding {
    struct descriptors all;
    __u8 rank;
    bool found;
    struct target target;
};

struct labelling {
    struct descriptors all;
    struct process *process;
    struct label label;
};

static __always_inline bool is_lower(struct holding *holding, struct file *file)
{
    struct inode *inode = BPF_CORE_READ(file, f_inode);
    __u16 kind = kind_at(inode);

    if (kind == S_IFREG) {
        if (!(BPF_CORE_READ(file, f_mode) & FMODE_WRITE))
            return false;
        return find_place((__u64)inode, (__u64)BPF_CORE_READ(file, f_path.dentry), &holding->target) &&
               holding->target.ceiling < holding->rank;
    }
    if (kind == S_IFSOCK) {
        struct socket *socket = BPF_CORE_READ(file, private_data);
        struct sock *sk = BPF_CORE_READ(socket, sk);

        begin_target(&holding->target, sk);
        if (holding->target.family != AF_INET && holding->target.family != AF_INET6)
            return false;
        if (!read_peer(&holding->target, (__u64)sk) || is_loopback(holding->target.address))
            return false;
        find_ceiling(&holding->target, NULL, 0);
        end_target(&holding->target);
        return holding->target.ceiling < holding->rank;
    }
    return false;
}

static long look_at_one(__u32 number, struct holding *holding)
{
    struct file *file;

    if (number >= holding->all.number)
        return 1;
    file = descriptor(&holding->all, number);
    if (file && is_lower(holding, file)) {
        holding->found = true;
        return 1;
    }
    return 0;
}

static long label_one(__u32 number, struct labelling *labelling)
{
    struct file *file;
    struct inode *inode;
    struct key key;
    __u16 kind;

    if (number >= labelling->all.number)
        return 1;
    file = descriptor(&labelling->all, number);
    if (!file || !(BPF_CORE_READ(file, f_mode) & FMODE_WRITE))
        return 0;
    inode = BPF_CORE_READ(file, f_inode);
    kind = kind_at(inode);
    if (kind != S_IFIFO && BPF_CORE_READ(inode, i_sb, s_magic) != MQUEUE_MAGIC)
        return 0;
    key = key_at(inode);
    label_carrier(&key, &labelling->label);
    return 0;
}

static long label_mapping(__u32 number, struct labelling *labelling)
{
    struct process *process = labelling->process;
    struct mapping *mapping;

    if (number >= MAPPINGS)
        return 1;
    mapping = &process->mapping[number];
    if (!mapping->source.key.space)
        return 1;
    if (mapping->writes)
        label_carrier(&mapping->source.key, &labelling->label);
    return 0;
}

static long label_member(void *map, const struct member *member, const __u64 *writes, struct labelling *labelling)
{
    struct key key;

    if (member->crowd != labelling->process->crowd || !*writes)
        return 0;
    key = member->source.key;
    label_carrier(&key, &labelling->label);
    return 0;
}

/* Whether the process at work holds a destination open that may not receive `label`. */
VERIFIED_ONCE int holds_lower(const struct label *label, struct target *target)
{
    struct holding holding = {};

    if (!label || !target)
        return 0;
    holding.all = descriptors();
    holding.rank = label->rank;
    bpf_loop(MAX_DESCRIPTORS, look_at_one, &holding, 0);
    *target = holding.target;
    return holding.found;
}

/* Labels what the process at work could fill without being asked. */
VERIFIED_ONCE int label_held(struct process *process, const struct label *label)
{
    struct labelling labelling = { .process = process };

    if (!process || !label)
        return 0;
    labelling.label = *label;
    bpf_loop(MAPPINGS, label_mapping, &labelling, 0);
    if (process->crowd)
        bpf_for_each_map_elem(&crowds, label_member, &labelling, 0);
    labelling.all = descriptors();
    bpf_loop(MAX_DESCRIPTORS, label_one, &labelling, 0);
    return 0;
}

#endif
