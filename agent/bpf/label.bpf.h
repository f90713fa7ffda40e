/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is known of files and of everything else that bytes can lie in.
 *
 * A file's own entry in `labels` counts first: masters that the agent has read, copies that it has measured,
 * and what a tainted process wrote. A file without one is a master where a directory above it is a
 * collection's. Directories that have none above them are remembered until the policy changes, or a directory moves.
 */
#ifndef VITRINE_LABEL_BPF_H
#define VITRINE_LABEL_BPF_H

#include "kernel.bpf.h"
#include "record.h"

/* How many directories are looked at above a file. */
#define DEPTH 64

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct settings);
} settings SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, COUNTERS);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 262144);
    __type(key, struct key);
    __type(value, struct label);
} labels SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 65536);
    __type(key, struct key);
    __type(value, struct place);
} places SEC(".maps");

/* What a directory becomes that gets the name. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 4096);
    __type(key, struct name);
    __type(value, struct place);
} names SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 4096);
    __type(key, struct suffix);
    __type(value, __u8);
} suffixes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 8192);
    __type(key, __u32);
    __type(value, struct mounted);
} mounts SEC(".maps");

/*
 * Directories that have no collection above them, those with no destination, and files without a label, each by one
 * word, so that it is read and written at once. What the word is made of cannot be guessed (`settings.secret`), and is
 * another with each generation.
 */
#define CLEAR 65536
/* The longest that a directory is on its way to its new name, in nanoseconds. */
#define MOVING 2000000000ULL
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, CLEAR);
    __type(key, __u32);
    __type(value, __u64);
} clear SEC(".maps");

static __always_inline const struct settings *in_force(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline __u64 *counter(__u32 number)
{
    return bpf_map_lookup_elem(&counters, &number);
}

static __always_inline void count(__u32 number)
{
    __u64 *value = counter(number);

    if (value)
        __sync_fetch_and_add(value, 1);
}

static __always_inline __u64 count_of(__u32 number)
{
    __u64 *value = counter(number);

    return value ? *(volatile __u64 *)value : 0;
}

static __always_inline struct key key_of(const struct inode *inode)
{
    struct key key = { .space = inode->i_sb->s_dev, .id = inode->i_ino };

    return key;
}

static __always_inline struct key key_at(const struct inode *inode)
{
    struct key key = {
        .space = BPF_CORE_READ(inode, i_sb, s_dev),
        .id = BPF_CORE_READ(inode, i_ino),
    };

    return key;
}

/* Keys in memory that is neither a map's nor the stack's are copied: Linux 6.1 takes no others. */
static __always_inline struct label *label_at(const struct key *key)
{
    struct key copy = *key;

    return bpf_map_lookup_elem(&labels, &copy);
}

static __always_inline void set_label(const struct key *key, const struct label *label, __u64 flags)
{
    struct key copy = *key;

    if (bpf_map_update_elem(&labels, &copy, label, flags) && flags != BPF_NOEXIST)
        count(COUNTER_FULL);
    count(COUNTER_LABELLED);
}

/* The directories above a file: the nearest one of a collection, and the nearest one of a destination. */
struct ascent {
    __u64 dentry;
    __u64 space;
    struct place collection;
    struct place destination;
};

static long climb(__u32 step, struct ascent *ascent)
{
    struct dentry *dentry = (struct dentry *)ascent->dentry;
    struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
    struct key key = { .space = ascent->space };
    const struct place *place;

    if (!parent || parent == dentry)
        return 1;
    key.id = BPF_CORE_READ(parent, d_inode, i_ino);
    place = bpf_map_lookup_elem(&places, &key);
    if (place) {
        if (!ascent->collection.flags && (place->flags & PLACE_COLLECTION))
            ascent->collection = *place;
        if (!ascent->destination.flags && (place->flags & PLACE_DESTINATION))
            ascent->destination = *place;
        if (ascent->collection.flags && ascent->destination.flags)
            return 1;
    }
    ascent->dentry = (__u64)parent;
    return 0;
}

static __always_inline void ascend(struct ascent *ascent, __u64 dentry, __u64 space)
{
    __builtin_memset(ascent, 0, sizeof(*ascent));
    ascent->dentry = dentry;
    ascent->space = space;
    bpf_loop(DEPTH, climb, ascent, 0);
}

/* Whether any directory of that kind lies on a file system, as far as is known. */
static __always_inline bool has_places(__u64 space, __u8 kind)
{
    __u32 device = space;
    const struct mounted *mounted = bpf_map_lookup_elem(&mounts, &device);

    return !mounted || (mounted->places & kind);
}

/* Whether a name ends as the masters of a collection do, whatever the case of its letters. */
VERIFIED_ONCE int is_named_like_a_master(__u64 file, __u32 flags, __u32 set)
{
    struct dentry *dentry = (struct dentry *)file;
    struct suffix suffix = { .set = set };
    const unsigned char *name = BPF_CORE_READ(dentry, d_name.name);
    __u64 length = BPF_CORE_READ(dentry, d_name.len);
    char end[SUFFIX] = {};
    __u64 after = 0;

    if (flags & PLACE_EVERY_NAME)
        return true;
    if (length > SUFFIX) {
        name += length - SUFFIX;
        length = SUFFIX;
    }
    if (bpf_probe_read_kernel(end, length & 15, name))
        return true;
    for (__u64 at = 0; at < SUFFIX; at++) {
        __u64 differs = (__u8)end[at] ^ '.';
        __u64 is_dot;

        /* The verifier would go through all that follows once for each place of the dot, were it a branch. */
        barrier_var(differs);
        is_dot = (differs - 1) >> 63;
        barrier_var(is_dot);
        after += is_dot * (at + 1 - after);
    }
    length -= after;
    barrier_var(length);
    if (!after || length > SUFFIX || bpf_probe_read_kernel(suffix.text, length, name + after))
        return false;
    for (int at = 0; at < SUFFIX; at++)
        if (suffix.text[at] >= 'A' && suffix.text[at] <= 'Z')
            suffix.text[at] += 'a' - 'A';
    return bpf_map_lookup_elem(&suffixes, &suffix) != NULL;
}

static __always_inline bool is_master(struct dentry *dentry, const struct place *collection)
{
    return collection->flags && is_named_like_a_master(number_of(dentry), collection->flags, collection->suffixes);
}

/* The word of a directory: its bits are mixed as by SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
static __always_inline __u64 word_of(const struct inode *directory, const struct settings *now, __u32 kind)
{
    __u64 word = now->secret + kind * 0xa0761d6478bd642fULL + *(volatile const __u64 *)&now->generation * 0x9e3779b97f4a7c15ULL +
                 count_of(COUNTER_MOVES) * 0xd6e8feb86659fd93ULL;

    word ^= directory->i_ino;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9ULL;
    word ^= (__u64)directory->i_sb->s_dev << 32 | directory->i_generation;
    word = (word ^ word >> 27) * 0x94d049bb133111ebULL;
    return word ^ word >> 31;
}

/* The word of a file by one of its names. */
static __always_inline __u64 word_of_file(const struct inode *inode, const struct inode *directory, const struct settings *now)
{
    __u64 word = word_of(directory, now, PLACE_FILE) + count_of(COUNTER_LABELLED) * 0xa0761d6478bd642fULL +
                 count_of(COUNTER_LABELLED_BY_AGENT) * 0x9e3779b97f4a7c15ULL;

    word ^= inode->i_ino + ((__u64)inode->i_generation << 32);
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9ULL;
    return word ^ word >> 27;
}

/*
 * Nothing lies above the directory of that word. What is about to be moved is asked about before it lies elsewhere:
 * nothing that is found at such a time is kept.
 */
static __always_inline void keep_clear(__u64 *found, __u64 word)
{
    if (found && bpf_ktime_get_boot_ns() - count_of(COUNTER_MOVED) > MOVING)
        *(volatile __u64 *)found = word;
}

/* The label of a regular file; its rank. */
static __noinline __u8 label_of(struct inode *inode, struct dentry *dentry, struct label *label)
{
    const struct settings *now = in_force();
    const struct label *own;
    struct ascent ascent;
    struct inode *directory = dentry->d_parent->d_inode;
    struct key key = key_of(inode);
    __u32 index;
    __u64 word, whole;
    __u64 *found, *known;

    if (!now)
        return 0;
    whole = word_of_file(inode, directory, now);
    index = whole & (CLEAR - 1);
    known = bpf_map_lookup_elem(&clear, &index);
    if (known && *(volatile __u64 *)known == whole)
        return 0;
    own = bpf_map_lookup_elem(&labels, &key);
    if (own) {
        *label = *own;
        return label->rank;
    }
    word = word_of(directory, now, PLACE_COLLECTION);
    index = word & (CLEAR - 1);
    found = bpf_map_lookup_elem(&clear, &index);
    if (found && *(volatile __u64 *)found == word) {
        /* It holds as long as what is known of the directory. */
        if (known)
            *(volatile __u64 *)known = whole;
        return 0;
    }
    __builtin_memset(&ascent, 0, sizeof(ascent));
    if (has_places(key.space, PLACE_COLLECTION))
        ascend(&ascent, number_of(dentry), key.space);
    if (!ascent.collection.flags) {
        keep_clear(found, word);
        return 0;
    }
    if (!is_master(dentry, &ascent.collection))
        return 0;
    __builtin_memset(label, 0, sizeof(*label));
    label->rank = ascent.collection.rank;
    label->vault = ascent.collection.vault;
    label->master = key;
    return label->rank;
}

/* Gives `key` the label, if that is higher than its own. Whether it was. */
VERIFIED_ONCE int raise(const struct key *key, const struct label *label, __u32 flags)
{
    struct label *own;
    struct label raised;

    if (!key || !label)
        return 0;
    own = label_at(key);
    raised = *label;
    raised.vault = 0;
    raised.flags = flags;
    if (own && own->rank >= raised.rank)
        return 0;
    if (own)
        raised.vault = own->vault;
    set_label(key, &raised, BPF_ANY);
    return 1;
}

struct below {
    __u64 dentry;
    __u64 space;
    struct label label;
};

static long mark_above(__u32 step, struct below *below)
{
    struct dentry *dentry = (struct dentry *)below->dentry;
    struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
    struct key key = { .space = below->space };

    if (!parent || parent == dentry)
        return 1;
    key.id = BPF_CORE_READ(parent, d_inode, i_ino);
    if (!raise(&key, &below->label, LABEL_BELOW))
        return 1;
    below->dentry = (__u64)parent;
    return 0;
}

/* A file was written by somebody who carries `label`. Whether that was news. */
static __noinline bool write_label(struct inode *inode, struct dentry *dentry, const struct label *label)
{
    struct key key = key_of(inode);
    struct below below = { .dentry = number_of(dentry), .space = key.space, .label = *label };

    if (!raise(&key, label, LABEL_INHERITED))
        return false;
    bpf_loop(DEPTH, mark_above, &below, 0);
    return true;
}

#endif
