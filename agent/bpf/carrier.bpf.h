/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Carriers: pipes, sockets, queues and shared memory, which have a label as long as they hold what was written.
 *
 * Bytes that are moved from one into the other without a word to anybody (splice(2), tee(2)) make the two one:
 * what either carries from then on, both do.
 */
#ifndef VITRINE_CARRIER_BPF_H
#define VITRINE_CARRIER_BPF_H

#include "process.bpf.h"

/* The groups of carriers that have been joined. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 65536);
    __type(key, struct key);
    __type(value, __u64);
} joined SEC(".maps");

/* The group of a carrier; 0: it is not joined with any other. */
static __always_inline __u64 group_of(const struct key *key)
{
    struct key copy = *key;
    const __u64 *number;

    if (!count_of(COUNTER_JOINED))
        return 0;
    number = bpf_map_lookup_elem(&joined, &copy);
    return number ? *number : 0;
}

/* A carrier gets the label, if that is higher than its own. Whether it was. */
static __always_inline int label_carrier(const struct key *key, const struct label *label)
{
    if (!key || !label || !raise(key, label, LABEL_INHERITED))
        return 0;
    share(group_of(key), label);
    count(COUNTER_CARRIERS);
    return 1;
}

/* `best` becomes the label of a carrier, where that is higher. */
VERIFIED_ONCE int weigh_carrier(struct label *best, const struct key *key)
{
    const struct label *own;
    const struct group *group;
    __u64 number;

    if (!best || !key)
        return 0;
    own = label_at(key);
    if (own && !(own->flags & LABEL_BELOW) && own->rank > best->rank)
        *best = *own;
    number = group_of(key);
    if (!number)
        return 0;
    number = whole_of(number);
    group = bpf_map_lookup_elem(&groups, &number);
    if (group && group->label.rank > best->rank)
        *best = group->label;
    return 0;
}

static __always_inline void enter(const struct key *key, __u64 group)
{
    struct key copy = *key;
    struct label own = {};

    if (bpf_map_update_elem(&joined, &copy, &group, BPF_ANY))
        count(COUNTER_FULL);
    weigh_carrier(&own, &copy);
    if (own.rank)
        share(group, &own);
}

/* What either carries, both do from now on. */
VERIFIED_ONCE int join_carriers(const struct key *one, const struct key *other)
{
    __u64 first, second;
    __u64 *number;

    if (!one || !other)
        return 0;
    first = group_of(one);
    second = group_of(other);
    if (first && second) {
        if (first == second || whole_of(first) == whole_of(second))
            return 0;
        unite(first, second);
    } else {
        number = counter(COUNTER_GROUPS);
        if (!number)
            return 0;
        first = first ?: second ?: __sync_fetch_and_add(number, 1) + 1;
        count(COUNTER_JOINED);
        enter(one, first);
        enter(other, first);
    }
    count(COUNTER_CARRIERS);
    return 0;
}

static long keep_group(void *map, const struct key *key, const __u64 *number, void *nothing)
{
    keep_groups(*number);
    return 0;
}

/* The groups of carriers that are there still are in use. */
static __always_inline void keep_joined(void)
{
    bpf_for_each_map_elem(&joined, keep_group, NULL, 0);
}

#endif
