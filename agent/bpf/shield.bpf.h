/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is the agent's is kept from all others, also from root: its processes, its files, its maps and programs and
 * their names. While maintenance is open nothing is refused. The service manager may end the agent, and that is told of.
 */
#ifndef VITRINE_SHIELD_BPF_H
#define VITRINE_SHIELD_BPF_H

#include "place.bpf.h"

/* Files and directories of the agent's, and the file systems that they lie on (with no inode). */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1024);
    __type(key, struct key);
    __type(value, __u32);
} sheltered SEC(".maps");

/* The agent's maps and programs, by kind and the kernel's number. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1024);
    __type(key, __u64);
    __type(value, __u8);
} own SEC(".maps");

static __always_inline bool is_shield_up(void)
{
    const struct shield *now = shield_in_force();

    return now && now->mode != SHIELD_OFF && now->until <= bpf_ktime_get_boot_ns();
}

static __always_inline __u32 shelter_of(const struct key *key)
{
    const __u32 *flags = bpf_map_lookup_elem(&sheltered, key);

    return flags ? *flags : 0;
}

/* Whether the process at work is the agent, one that it has started, one that is about to be the agent, or the kernel. */
static __always_inline bool is_keeper(void)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct process *process = process_of(task);

    return is_agent(process) || (process && (process->flags & PROCESS_NEXT)) || (task->flags & PF_KTHREAD);
}

static __always_inline bool is_of_the_agent(struct task_struct *task)
{
    struct process *process = process_of(task);

    return (process && (process->flags & (PROCESS_AGENT | PROCESS_NEXT))) || is_the_agent(task->group_leader);
}

/* Whether a process started the agent, or starts services: it may end the agent, and start it again. */
static __always_inline bool is_manager(struct task_struct *leader)
{
    const struct shield *now = shield_in_force();
    int number = BPF_CORE_READ(leader, tgid);

    return number == 1 || (now && now->starter == number &&
                           now->starter_started == BPF_CORE_READ(leader, start_boottime) / TICK);
}

/* Whether the process at work runs the agent's program and is nobody's to look into. */
static __always_inline bool runs_the_program(void)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct file *file = BPF_CORE_READ(task, mm, exe_file);
    struct key key;

    if (!file || task->ptrace)
        return false;
    key = key_at(BPF_CORE_READ(file, f_inode));
    return shelter_of(&key) & SHELTER_PROGRAM;
}

struct rise {
    __u64 dentry;
    __u64 space;
    __u64 found;
};

static long look_above(__u32 number, struct rise *rise)
{
    struct dentry *dentry = (struct dentry *)rise->dentry;
    struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
    struct inode *inode = BPF_CORE_READ(dentry, d_inode);
    struct key key = { .space = rise->space };

    if (inode) {
        key.id = BPF_CORE_READ(inode, i_ino);
        if (shelter_of(&key) & (number ? SHELTER_TREE : SHELTER_TREE | SHELTER_FILE)) {
            rise->found = 1;
            return 1;
        }
    }
    if (!parent || parent == dentry)
        return 1;
    rise->dentry = (__u64)parent;
    return 0;
}

/* Whether what a dentry (its number) names is the agent's, or lies in a directory that is. */
VERIFIED_ONCE int is_sheltered(__u64 dentry)
{
    struct key disk = { .space = BPF_CORE_READ((struct dentry *)dentry, d_sb, s_dev) };
    struct rise rise = { .dentry = dentry, .space = disk.space };

    if (!shelter_of(&disk))
        return 0;
    bpf_loop(DEPTH, look_above, &rise, 0);
    return rise.found;
}

/* Whether a directory (its dentry's number) lies above something of the agent's. */
VERIFIED_ONCE int is_above_sheltered(__u64 dentry)
{
    struct inode *inode = BPF_CORE_READ((struct dentry *)dentry, d_inode);
    struct key key;

    if (!inode)
        return 0;
    key = key_at(inode);
    return (shelter_of(&key) & SHELTER_ABOVE) != 0;
}

/*
 * Somebody else touches what is the agent's: that is told of once, and answered as the shield says. `is_let` says that he
 * may. The agent's own program, run by hand, tries to keep in order what it reads, and does without: nobody is told.
 */
VERIFIED_ONCE int touch(__u32 operation, __u32 detail, __u64 dentry, __u32 is_let)
{
    const struct shield *now = shield_in_force();
    struct task_struct *task = bpf_get_current_task_btf();
    bool enforces = now && now->mode == SHIELD_ENFORCE && !is_let;
    struct attempt attempt = { .process = task->tgid, .operation = operation };
    struct target target = { .kind = TARGET_FILE, .dentry = dentry };
    __u64 time = bpf_ktime_get_boot_ns();
    struct event *event;
    __u64 *last;

    if (dentry && runs_the_program())
        return enforces ? -EPERM : 0;
    if (dentry)
        target.key = key_at(BPF_CORE_READ((struct dentry *)dentry, d_inode));
    attempt.target = target.key;
    attempt.target.space |= (__u64)detail << 32;
    last = bpf_map_lookup_elem(&told, &attempt);
    if (last && time - *last < SAME)
        return enforces ? -EPERM : 0;
    event = begin_event(EVENT_TOUCHED, &target);
    if (event) {
        bpf_map_update_elem(&told, &attempt, &time, BPF_ANY);
        event->operation = operation;
        event->port = detail;
        event->denied = enforces;
        event->ceiling = is_let;
        write_program(event);
        bpf_ringbuf_submit(event, 0);
    }
    return enforces ? -EPERM : 0;
}

/* A file, or a name, is about to be changed. */
VERIFIED_ONCE int shelter(__u64 dentry, __u32 operation)
{
    if (!is_shield_up() || is_keeper() || !is_sheltered(dentry))
        return 0;
    return touch(operation, 0, dentry, 0);
}

/* A name goes, or becomes another: also one of a directory above. */
VERIFIED_ONCE int shelter_name(__u64 dentry, __u32 operation)
{
    if (!is_shield_up() || is_keeper() || !(is_sheltered(dentry) || is_above_sheltered(dentry)))
        return 0;
    return touch(operation, 0, dentry, 0);
}

/* A process is about to be ended, looked into or held up. */
static __noinline int shelter_process(struct task_struct *task, __u32 operation, __u32 detail)
{
    struct task_struct *current = bpf_get_current_task_btf();
    bool is_let;

    if (!is_shield_up() || !is_of_the_agent(task) || is_keeper())
        return 0;
    is_let = is_manager(current->group_leader) && operation != OPERATION_LOOK_INTO &&
             !(operation == OPERATION_SIGNAL && detail == SIGSTOP);
    /* What the agent tells of itself, or does not feel. */
    if (is_let && !(operation == OPERATION_SIGNAL && (detail == SIGKILL || detail == SIGABRT)))
        return 0;
    return touch(operation, detail, 0, is_let);
}

/* Chances to go on, and to be there, are no harm. */
static __always_inline int shelter_from_signal(struct task_struct *task, int number)
{
    return !number || number == SIGCONT ? 0 : shelter_process(task, OPERATION_SIGNAL, number);
}

SEC("lsm/task_setscheduler")
int BPF_PROG(task_setscheduler, struct task_struct *task)
{
    return answer(shelter_process(task, OPERATION_LIMIT, 0));
}

SEC("lsm/task_setnice")
int BPF_PROG(task_setnice, struct task_struct *task)
{
    return answer(shelter_process(task, OPERATION_LIMIT, 0));
}

SEC("lsm/task_setrlimit")
int BPF_PROG(task_setrlimit, struct task_struct *task)
{
    return answer(shelter_process(task, OPERATION_LIMIT, 0));
}

SEC("lsm/inode_unlink")
int BPF_PROG(inode_unlink, struct inode *directory, struct dentry *dentry)
{
    return answer(shelter_name(number_of(dentry), OPERATION_REMOVE));
}

SEC("lsm/inode_rmdir")
int BPF_PROG(inode_rmdir, struct inode *directory, struct dentry *dentry)
{
    return answer(shelter_name(number_of(dentry), OPERATION_REMOVE));
}

/* A map or a program gets a name in the BPF file system. */
SEC("lsm/path_mknod")
int BPF_PROG(path_mknod, const struct path *directory, struct dentry *dentry)
{
    return answer(shelter(number_of(dentry), OPERATION_CREATE));
}

SEC("lsm/inode_removexattr")
int BPF_PROG(inode_removexattr, void *idmap, struct dentry *dentry)
{
    return answer(shelter(number_of(dentry), OPERATION_CHANGE));
}

/* Since Linux 6.2; before it was an attribute like others. */
SEC("lsm/inode_set_acl")
int BPF_PROG(inode_set_acl, void *idmap, struct dentry *dentry)
{
    return answer(shelter(number_of(dentry), OPERATION_CHANGE));
}

/* Whether mounts of the process at work are those that the agent sees. */
static __always_inline bool shares_mounts(void)
{
    const struct shield *now = shield_in_force();
    struct task_struct *task = bpf_get_current_task_btf();

    return now && BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum) == now->mounts;
}

/* Something is mounted over a directory (its dentry's number), or moved away from there. */
VERIFIED_ONCE int cover(__u64 dentry)
{
    struct task_struct *task = bpf_get_current_task_btf();

    if (!is_shield_up() || task->tgid == 1 || is_keeper())
        return 0;
    if (!is_sheltered(dentry) && !(is_above_sheltered(dentry) && shares_mounts()))
        return 0;
    return touch(OPERATION_MOUNT, 0, dentry, 0);
}

SEC("lsm/sb_mount")
int BPF_PROG(sb_mount, const char *device, const struct path *path, const char *type, unsigned long flags)
{
    if (flags & (MS_REMOUNT | MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED))
        return 0;
    return answer(cover((__u64)BPF_CORE_READ(path, dentry)));
}

SEC("lsm/move_mount")
int BPF_PROG(move_mount, const struct path *from, const struct path *to)
{
    return answer(cover((__u64)BPF_CORE_READ(from, dentry)) ?: cover((__u64)BPF_CORE_READ(to, dentry)));
}

/* The names of maps and programs go with their file system. */
SEC("lsm/sb_umount")
int BPF_PROG(sb_umount, struct vfsmount *mount)
{
    struct dentry *root = BPF_CORE_READ(mount, mnt_root);

    if (BPF_CORE_READ(root, d_sb, s_magic) != BPF_FS_MAGIC)
        return 0;
    return answer(cover((__u64)root));
}

/* Somebody gets a descriptor of a map or a program, by its name or number. */
VERIFIED_ONCE int hold(__u64 kind, __u32 number)
{
    __u64 key = kind << 32 | number;

    if (!is_shield_up() || !bpf_map_lookup_elem(&own, &key) || is_keeper())
        return 0;
    return touch(OPERATION_HOLD, 0, 0, 0);
}

SEC("lsm/bpf_map")
int BPF_PROG(bpf_map, struct bpf_map *map)
{
    return answer(hold(OWN_MAP, map->id));
}

SEC("lsm/bpf_prog")
int BPF_PROG(bpf_prog, struct bpf_prog *program)
{
    return answer(hold(OWN_PROGRAM, BPF_CORE_READ(program, aux, id)));
}

#endif
