/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Destinations in the file tree: the nearest directory above a file that the policy names, else its file
 * system. A file system that the agent has not told of is a destination that nobody named, unless it
 * exists in memory alone.
 */
#ifndef VITRINE_PLACE_BPF_H
#define VITRINE_PLACE_BPF_H

#include "report.bpf.h"

static __always_inline __u8 elsewhere(void)
{
    const struct settings *now = in_force();

    return now ? now->elsewhere : NO_CEILING;
}

/* Whether what is written there can only be read through the kernel again. */
static __always_inline bool is_in_memory(__u64 magic)
{
    switch (magic) {
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
    case HUGETLBFS_MAGIC:
    case PIPEFS_MAGIC:
    case SOCKFS_MAGIC:
    case MQUEUE_MAGIC:
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEVPTS_SUPER_MAGIC:
    case BPF_FS_MAGIC:
    case ANON_INODE_FS_MAGIC:
    /* The files below an overlay are asked about themselves. */
    case OVERLAYFS_SUPER_MAGIC:
        return true;
    default:
        return false;
    }
}

/* Whether a file (its inode's and dentry's number), or a name that is to be made, lies in a destination. */
VERIFIED_ONCE int find_place(__u64 file, __u64 dentry, struct target *target)
{
    struct inode *inode = (struct inode *)file;
    __u32 device = BPF_CORE_READ(inode, i_sb, s_dev);
    const struct mounted *mounted;
    struct ascent ascent = {};

    if (!target)
        return 0;
    __builtin_memset(target, 0, sizeof(*target));
    target->kind = TARGET_FILE;
    target->key = key_at(inode);
    target->dentry = dentry;
    mounted = bpf_map_lookup_elem(&mounts, &device);
    if (!mounted || (mounted->places & PLACE_DESTINATION)) {
        ascend(&ascent, dentry, device);
        if (ascent.destination.flags) {
            target->ceiling = ascent.destination.ceiling;
            return 1;
        }
    }
    if (mounted) {
        target->ceiling = mounted->is_destination ? mounted->ceiling : NO_CEILING;
        return mounted->is_destination;
    }
    if (is_in_memory(BPF_CORE_READ(inode, i_sb, s_magic))) {
        target->ceiling = NO_CEILING;
        return 0;
    }
    target->ceiling = elsewhere();
    return 1;
}

/* Whether a name in a directory (its inode's number) is that of a destination. */
VERIFIED_ONCE int find_name(__u64 directory, __u64 dentry, struct place *place)
{
    struct dentry *named = (struct dentry *)dentry;
    struct name name = {};
    __u32 length = BPF_CORE_READ(named, d_name.len);
    const struct place *known;

    if (!place)
        return 0;
    name.directory = key_at((struct inode *)directory);
    name.length = length;
    if (length > NAME_TEXT)
        length = NAME_TEXT;
    if (bpf_probe_read_kernel(name.text, length, BPF_CORE_READ(named, d_name.name)))
        return 0;
    known = bpf_map_lookup_elem(&names, &name);
    if (!known)
        return 0;
    *place = *known;
    return 1;
}

/* A directory gets the name of a destination, if it is one: it is that destination at once. */
VERIFIED_ONCE int name_directory(__u64 inode, __u64 directory, __u64 dentry)
{
    struct key key = key_at((struct inode *)inode);
    struct place *known, place = {};

    if (!find_name(directory, dentry, &place))
        return 0;
    known = bpf_map_lookup_elem(&places, &key);
    if (known && (known->flags & PLACE_DESTINATION))
        return 0;
    if (known) {
        __u8 ceiling = place.ceiling;

        place = *known;
        place.flags |= PLACE_DESTINATION;
        place.ceiling = ceiling;
    }
    if (bpf_map_update_elem(&places, &key, &place, BPF_ANY))
        count(COUNTER_FULL);
    count(COUNTER_MOVES);
    return 1;
}

/*
 * A file without a label comes to a name: who wrote it carries nothing, and its content is not known yet. Whether
 * the name lies in a destination.
 */
VERIFIED_ONCE int arrive(__u64 file, __u64 directory, __u64 dentry)
{
    struct target target;

    if (!find_place(directory, dentry, &target))
        return 0;
    target.key = key_at((struct inode *)file);
    tell(EVENT_ARRIVING, NULL, &target);
    return 1;
}

#endif
