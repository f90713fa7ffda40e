/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Files: open, read, write, map, receive, and the names that are made for them.
 */
#ifndef VITRINE_FILE_BPF_H
#define VITRINE_FILE_BPF_H

#include "shield.bpf.h"
#include "splice.bpf.h"

/* A file is opened to be written by somebody who carries nothing. */
static __noinline void come(struct inode *inode, struct dentry *dentry)
{
    const struct settings *now = in_force();
    __u32 index;
    __u64 word;
    __u64 *found;

    if (!now || is_exempt(current_process()))
        return;
    word = word_of(dentry->d_parent->d_inode, now, PLACE_DESTINATION);
    index = word & (CLEAR - 1);
    found = bpf_map_lookup_elem(&clear, &index);
    if (found && *(volatile __u64 *)found == word)
        return;
    if (!arrive(number_of(inode), number_of(inode), number_of(dentry)))
        keep_clear(found, word);
}

/* A regular file is written, or opened to be. */
static __noinline int write_file(struct file *file, __u8 operation)
{
    struct process *process = tainted();
    struct inode *inode = file->f_inode;
    struct dentry *dentry = file->f_path.dentry;
    struct target target;

    if (!process) {
        if (operation == OPERATION_OPEN || operation == OPERATION_CREATE)
            come(inode, dentry);
        return 0;
    }
    if (find_place(number_of(inode), number_of(dentry), &target) && target.ceiling < process->label.rank) {
        int outcome = refuse(operation, process, &process->label, &target);

        if (outcome)
            return outcome;
    }
    if (operation != OPERATION_OPEN && write_label(inode, dentry, &process->label)) {
        count(COUNTER_CARRIERS);
        tell(EVENT_WRITTEN, process, &target);
    }
    return 0;
}

static __always_inline int read_file(struct file *file, __u8 operation)
{
    struct label label = {};

    if (!label_of(file->f_inode, file->f_path.dentry, &label))
        return 0;
    return take_file((__u64)BPF_CORE_READ(file, f_path.dentry), &label, operation);
}

static __always_inline __u64 magic_of(struct inode *inode)
{
    return inode->i_sb->s_magic;
}

/* Files of a daemon in user space carry what any such daemon has written. */
static __always_inline int read_from_daemon(struct inode *inode)
{
    struct source daemon = { .key = { .space = SPACE_FUSE, .id = 1 } };

    if (magic_of(inode) != FUSE_SUPER_MAGIC)
        return 0;
    return take_from(&daemon);
}

/* Whether only root may change a file: what others carry cannot come into it. */
static __always_inline bool is_of_the_system(struct inode *inode)
{
    return inode->i_uid.val == 0 && !(inode->i_mode & 022);
}

#define NAME 16

/* Whether a file goes by a name of `size` bytes, its zero byte among them. */
static __always_inline bool is_named(struct file *file, const char *wanted, unsigned int size)
{
    char name[NAME] = {};

    bpf_probe_read_kernel_str(name, size, BPF_CORE_READ(file, f_path.dentry, d_name.name));
    for (unsigned int i = 0; i < size; i++) {
        if (name[i] != wanted[i])
            return false;
    }
    return true;
}

/* The environment of a process is its memory. What the reader has looked into was noted when he opened it. */
static __always_inline int read_environment(struct file *file)
{
    static const char environment[] = "environ";
    struct process *process;
    struct label label;

    if (magic_of(file->f_inode) != PROC_SUPER_MAGIC)
        return 0;
    process = current_process();
    if (!process || !process->looked.rank || !is_named(file, environment, sizeof(environment)))
        return 0;
    label = process->looked;
    return take(&label);
}

/* A file is mapped to be written and read together with others. Whether it lies in a destination. */
static __noinline int share_file(struct file *file)
{
    struct process *process;
    struct target target;

    if (!find_place(number_of(file->f_inode), (__u64)BPF_CORE_READ(file, f_path.dentry), &target))
        return 0;
    process = begin_current();
    if (process && target.ceiling < process->mapped_ceiling)
        process->mapped_ceiling = target.ceiling;
    return process ? 1 : -ENOMEM;
}

/* The memory of an io_uring: each has an inode of its own, and whoever maps it can read and write there. */
static __noinline int share_ring(struct file *file)
{
    static const char ring[] = "[io_uring]";
    struct source source = source_of(file->f_inode);

    if (magic_of(file->f_inode) != ANON_INODE_FS_MAGIC || !is_named(file, ring, sizeof(ring)))
        return 0;
    give(&source.key);
    return remember(begin_current(), &source, true);
}

static __noinline int map_file(struct file *file, bool shared, bool writes, bool executes)
{
    struct inode *inode = file->f_inode;
    struct process *process;
    struct source source = {};
    int outcome;

    if (kind_of(inode) != S_IFREG)
        return shared && writes ? share_ring(file) : 0;
    process = current_process();
    if (executes && process && process->program.vaults && !is_of_the_system(inode))
        process->flags |= PROCESS_FOREIGN;
    outcome = read_file(file, OPERATION_MAP);
    if (outcome)
        return outcome;
    if (is_of_the_system(inode) || is_exempt(process))
        return 0;
    if (shared && writes) {
        outcome = write_file(file, OPERATION_MAP) ?: share_file(file);
        if (outcome)
            return outcome < 0 ? outcome : 0;
    }
    if (magic_of(inode) == FUSE_SUPER_MAGIC) {
        source.key.space = SPACE_FUSE;
        source.key.id = 1;
    } else {
        source = source_of(inode);
    }
    return remember(begin_current(), &source, shared && writes);
}

SEC("lsm/mmap_file")
int BPF_PROG(mmap_file, struct file *file, unsigned long wanted, unsigned long protection, unsigned long flags)
{
    bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
    struct source source = { .key = { .space = SPACE_ANONYMOUS } };
    __u64 number = 0;

    /* Linux before 6.13 takes the argument for one that is always there, and a question for it for needless. */
    bpf_probe_read_kernel(&number, sizeof(number), ctx);
    if (number)
        return answer(map_file(file, shared, protection & PROT_WRITE, protection & PROT_EXEC));
    if (!shared)
        return 0;
    /* Memory that only the children of this process will share: whoever has it has this number. */
    source.key.id = bpf_ktime_get_boot_ns();
    return answer(remember(begin_current(), &source, true));
}

SEC("lsm/file_mprotect")
int BPF_PROG(file_mprotect, struct vm_area_struct *area, unsigned long wanted, unsigned long protection)
{
    bool shared = area->vm_flags & VM_SHARED;
    bool executes = protection & PROT_EXEC;

    if (!area->vm_file || !((shared && (protection & PROT_WRITE)) || executes))
        return 0;
    return answer(map_file(area->vm_file, shared, protection & PROT_WRITE, executes));
}

static __always_inline int access(struct file *file, bool reads, bool writes, __u8 reading, __u8 writing)
{
    struct inode *inode = file->f_inode;
    int outcome;

    if (kind_of(inode) != S_IFREG)
        return access_special(file, reads, writes);
    if (reads) {
        outcome = read_file(file, reading) ?: read_from_daemon(inode) ?: read_environment(file);
        if (outcome)
            return outcome;
    }
    return writes ? write_file(file, writing) : 0;
}

SEC("lsm/file_open")
int BPF_PROG(file_open, struct file *file)
{
    __u32 mode = file->f_mode;
    struct inode *inode = file->f_inode;
    __u64 magic = magic_of(inode);

    if ((mode & FMODE_WRITE) && shelter(number_of(file->f_path.dentry), OPERATION_WRITE))
        return -EPERM;
    if (magic == PIPEFS_MAGIC)
        open_foreign_pipe(inode);
    if (magic == MQUEUE_MAGIC)
        return answer(open_queue(inode, mode & FMODE_READ, mode & FMODE_WRITE));
    return answer(access(file, mode & FMODE_READ, mode & FMODE_WRITE, OPERATION_OPEN,
                         mode & FMODE_CREATED ? OPERATION_CREATE : OPERATION_OPEN));
}

SEC("lsm/file_permission")
int BPF_PROG(file_permission, struct file *file, int mask)
{
    bool writes = mask & (MAY_WRITE | MAY_APPEND);
    __u16 kind = kind_of(file->f_inode);
    int spliced = 0, outcome;

    if (writes && (kind == S_IFREG || kind == S_IFSOCK || kind == S_IFBLK))
        spliced = splice_into();
    outcome = access(file, mask & MAY_READ, writes, OPERATION_OPEN, OPERATION_WRITE);
    return !outcome && spliced == -EINVAL ? -EINVAL : answer(outcome ?: spliced);
}

/* A descriptor comes from another process. */
SEC("lsm/file_receive")
int BPF_PROG(file_receive, struct file *file)
{
    __u32 mode = file->f_mode;

    return answer(access(file, mode & FMODE_READ, mode & FMODE_WRITE, OPERATION_RECEIVE, OPERATION_RECEIVE));
}

/* A name is made in a directory by somebody who carries a label: the name itself may say too much. */
static __noinline int make_name(struct inode *directory, struct dentry *dentry, __u8 operation)
{
    struct process *process = tainted();
    struct target target;

    if (!process)
        return 0;
    if (!find_place(number_of(directory), number_of(dentry), &target) || target.ceiling >= process->label.rank)
        return 0;
    return refuse(operation, process, &process->label, &target);
}

SEC("lsm/inode_create")
int BPF_PROG(inode_create, struct inode *directory, struct dentry *dentry)
{
    return answer(shelter(number_of(dentry), OPERATION_CREATE) ?: make_name(directory, dentry, OPERATION_CREATE));
}

SEC("lsm/inode_mkdir")
int BPF_PROG(inode_mkdir, struct inode *directory, struct dentry *dentry)
{
    struct place place = {};
    struct process *process;

    if (find_name(number_of(directory), number_of(dentry), &place)) {
        process = begin_current();
        if (!process)
            return -EPERM;
        process->flags |= PROCESS_NAMES;
    }
    return answer(shelter(number_of(dentry), OPERATION_CREATE) ?: make_name(directory, dentry, OPERATION_CREATE));
}

SEC("lsm/inode_mknod")
int BPF_PROG(inode_mknod, struct inode *directory, struct dentry *dentry)
{
    return answer(shelter(number_of(dentry), OPERATION_CREATE) ?: make_name(directory, dentry, OPERATION_CREATE));
}

/* Symbolic links that somebody makes who carries a label: other threads of his may make others at the same time. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 1024);
    __type(key, __u64);
    __type(value, __u64);
} linking SEC(".maps");

/* A link's text can carry bytes: the link is labelled when it has got its inode. */
SEC("lsm/inode_symlink")
int BPF_PROG(inode_symlink, struct inode *directory, struct dentry *dentry)
{
    struct process *process = tainted();
    __u64 link = number_of(dentry);

    if (process) {
        process->flags |= PROCESS_LINKS;
        if (bpf_map_update_elem(&linking, &link, &link, BPF_ANY))
            count(COUNTER_FULL);
    }
    return answer(shelter(link, OPERATION_CREATE) ?: make_name(directory, dentry, OPERATION_CREATE));
}

SEC("lsm/d_instantiate")
int BPF_PROG(d_instantiate, struct dentry *dentry, struct inode *inode)
{
    struct process *process = current_process();
    struct key key;
    __u64 link, number = 0;
    __u16 kind;

    if (!process || !(process->flags & (PROCESS_LINKS | PROCESS_NAMES)))
        return 0;
    /* A name that is found not to exist has none. */
    bpf_probe_read_kernel(&number, sizeof(number), ctx + 1);
    if (!number)
        return 0;
    link = number_of(dentry);
    kind = kind_at((struct inode *)number);
    if (kind == S_IFLNK && !bpf_map_delete_elem(&linking, &link)) {
        key = key_at((struct inode *)number);
        give(&key);
    }
    if (kind == S_IFDIR)
        name_directory(number, (__u64)BPF_CORE_READ(dentry, d_parent, d_inode), link);
    return 0;
}

SEC("lsm/inode_readlink")
int BPF_PROG(inode_readlink, struct dentry *dentry)
{
    struct source source;

    if (!count_of(COUNTER_CARRIERS))
        return 0;
    source = source_of(dentry->d_inode);
    return answer(take_from(&source));
}

/* Times and sizes can carry bytes as well. */
SEC("lsm/inode_setattr")
int BPF_PROG(inode_setattr)
{
    __u64 dentry = 0;
    struct target target;
    struct process *process = tainted();

    bpf_probe_read_kernel(&dentry, sizeof(dentry), bpf_core_type_exists(struct mnt_idmap) ? ctx + 1 : ctx);
    if (shelter(dentry, OPERATION_CHANGE))
        return -EPERM;
    if (!process)
        return 0;
    if (!find_place((__u64)BPF_CORE_READ((struct dentry *)dentry, d_inode), dentry, &target) ||
        target.ceiling >= process->label.rank)
        return 0;
    return answer(refuse(OPERATION_WRITE, process, &process->label, &target));
}

SEC("lsm/inode_setxattr")
int BPF_PROG(inode_setxattr, void *idmap, struct dentry *dentry)
{
    return answer(shelter(number_of(dentry), OPERATION_CHANGE) ?: make_name(dentry->d_inode, dentry, OPERATION_WRITE));
}

/* A directory is part of a collection, wherever it lies from now on. */
static __always_inline void keep_collection(const struct key *key, const struct place *collection)
{
    struct key copy = *key;
    struct place *known = bpf_map_lookup_elem(&places, &copy);
    struct place place = { .rank = collection->rank, .vault = collection->vault, .suffixes = collection->suffixes };

    place.flags = collection->flags & ~PLACE_DESTINATION;
    if (known) {
        if (known->flags & PLACE_COLLECTION)
            return;
        place.flags |= known->flags;
        place.ceiling = known->ceiling;
    }
    if (bpf_map_update_elem(&places, &copy, &place, BPF_ANY))
        count(COUNTER_FULL);
}

/* A file or directory gets a name in another directory. */
static __noinline int move(struct dentry *old, struct inode *directory, struct dentry *new, __u8 operation)
{
    struct inode *inode = old->d_inode;
    struct process *process = current_process();
    struct label label = {};
    struct target target;
    struct key key = key_of(inode);
    const struct label *own = bpf_map_lookup_elem(&labels, &key);
    struct ascent ascent = {};
    struct place named = {};

    if (is_exempt(process))
        return 0;
    ascend(&ascent, number_of(old), key.space);
    if (own)
        label = *own;
    if (!label.rank && ascent.collection.flags &&
        (kind_of(inode) == S_IFDIR || is_master(old, &ascent.collection))) {
        label.rank = ascent.collection.rank;
        label.vault = ascent.collection.vault;
        label.master = key;
    }
    if (!label.rank) {
        if (kind_of(inode) == S_IFREG)
            arrive(number_of(inode), number_of(directory), number_of(new));
        return 0;
    }
    find_place(number_of(directory), number_of(new), &target);
    if (kind_of(inode) == S_IFDIR && find_name(number_of(directory), number_of(new), &named) &&
        named.ceiling < target.ceiling)
        target.ceiling = named.ceiling;
    if (target.ceiling < label.rank) {
        int outcome = refuse(operation, process, &label, &target);

        if (outcome)
            return outcome;
    }
    /* What made it a master was where it lay: wherever it lies from now on, it is one. */
    if (kind_of(inode) == S_IFDIR) {
        if (ascent.collection.flags)
            keep_collection(&key, &ascent.collection);
    } else if (!own) {
        set_label(&key, &label, BPF_ANY);
    }
    return 0;
}

SEC("lsm/inode_link")
int BPF_PROG(inode_link, struct dentry *old, struct inode *directory, struct dentry *new)
{
    return answer(shelter(number_of(old), OPERATION_LINK) ?: shelter(number_of(new), OPERATION_LINK) ?:
                  make_name(directory, new, OPERATION_LINK) ?: move(old, directory, new, OPERATION_LINK));
}

/* What lies above other directories is another then. */
static __always_inline void note_move(struct dentry *dentry, struct inode *directory, struct dentry *new)
{
    __u64 *moved = counter(COUNTER_MOVED);

    if (!dentry->d_inode || kind_of(dentry->d_inode) != S_IFDIR)
        return;
    name_directory(number_of(dentry->d_inode), number_of(directory), number_of(new));
    if (moved)
        *(volatile __u64 *)moved = bpf_ktime_get_boot_ns();
    count(COUNTER_MOVES);
}

SEC("lsm/inode_rename")
int BPF_PROG(inode_rename, struct inode *from, struct dentry *old, struct inode *directory, struct dentry *new)
{
    int outcome = shelter_name(number_of(old), OPERATION_RENAME) ?: shelter_name(number_of(new), OPERATION_RENAME) ?:
                  make_name(directory, new, OPERATION_RENAME) ?: move(old, directory, new, OPERATION_RENAME);

    note_move(old, directory, new);
    /* RENAME_EXCHANGE: the other one moves too. */
    if (!outcome && BPF_CORE_READ(new, d_inode)) {
        outcome = move(new, from, old, OPERATION_RENAME);
        note_move(new, from, old);
    }
    return answer(outcome);
}

/* Inode numbers are used again. */
SEC("lsm/inode_free_security")
int BPF_PROG(inode_free_security, struct inode *inode)
{
    __u64 magic = magic_of(inode);
    struct key key;

    if (inode->i_nlink && magic != PIPEFS_MAGIC && magic != ANON_INODE_FS_MAGIC)
        return 0;
    key = key_of(inode);
    if (kind_of(inode) == S_IFDIR) {
        count(COUNTER_MOVES);
        bpf_map_delete_elem(&places, &key);
    }
    retire(&key, inode->i_generation);
    return 0;
}

#endif
