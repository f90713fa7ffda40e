/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The parts of the kernel's structures that are looked at. Offsets are found at loading time (CO-RE), so
 * only names and types count here.
 */
#ifndef VITRINE_KERNEL_BPF_H
#define VITRINE_KERNEL_BPF_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef _Bool bool;
#define NULL ((void *)0)
#define true 1
#define false 0

enum {
    BPF_MAP_TYPE_HASH = 1,
    BPF_MAP_TYPE_ARRAY = 2,
    BPF_MAP_TYPE_LRU_HASH = 9,
    BPF_MAP_TYPE_LPM_TRIE = 11,
    BPF_MAP_TYPE_RINGBUF = 27,
    BPF_MAP_TYPE_TASK_STORAGE = 29,
};
enum {
    BPF_ANY = 0,
    BPF_NOEXIST = 1,
    BPF_F_NO_PREALLOC = 1,
    BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
    BPF_F_BPRM_SECUREEXEC = 1,
};

#define EPERM 1
#define EINVAL 22
#define ENOMEM 12

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFDIR 0040000
#define S_IFLNK 0120000
#define S_IFCHR 0020000
#define S_IFIFO 0010000

/* include/linux/fs.h */
#define MAY_WRITE 2
#define MAY_READ 4
#define MAY_APPEND 8
#define FMODE_READ 0x1
#define FMODE_WRITE 0x2
#define FMODE_CREATED 0x100000
#define O_NONBLOCK 04000

/* include/uapi/linux/magic.h */
#define PIPEFS_MAGIC 0x50495045
#define SOCKFS_MAGIC 0x534F434B
#define TMPFS_MAGIC 0x01021994
#define RAMFS_MAGIC 0x858458f6
#define HUGETLBFS_MAGIC 0x958458f6
#define MQUEUE_MAGIC 0x19800202
#define PROC_SUPER_MAGIC 0x9fa0
#define SYSFS_MAGIC 0x62656572
#define DEBUGFS_MAGIC 0x64626720
#define TRACEFS_MAGIC 0x74726163
#define SECURITYFS_MAGIC 0x73636673
#define CGROUP_SUPER_MAGIC 0x27e0eb
#define CGROUP2_SUPER_MAGIC 0x63677270
#define DEVPTS_SUPER_MAGIC 0x1cd1
#define BPF_FS_MAGIC 0xcafe4a11
#define ANON_INODE_FS_MAGIC 0x09041934
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#define FUSE_SUPER_MAGIC 0x65735546

#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_TYPE 0x0f
#define MAP_PRIVATE 2
#define VM_SHARED 0x8

#define CLONE_VM 0x00000100
#define CLONE_FILES 0x00000400
#define CLONE_THREAD 0x00010000

#define PTRACE_MODE_ATTACH 2
#define PF_KTHREAD 0x00200000

/* include/uapi/asm-generic/signal.h */
#define SIGABRT 6
#define SIGKILL 9
#define SIGCONT 18
#define SIGSTOP 19

/* include/uapi/linux/mount.h, include/uapi/linux/fs.h */
#define MS_REMOUNT 32
#define MS_UNBINDABLE (1 << 17)
#define MS_PRIVATE (1 << 18)
#define MS_SLAVE (1 << 19)
#define MS_SHARED (1 << 20)
#define FS_IOC_SETFLAGS 0x40086602
#define FS_IOC_FSSETXATTR 0x401c5820

#define MSG_DONTWAIT 0x40
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define AF_ALG 38
#define SOCK_RAW 3
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define NETLINK_USERSOCK 2

/* include/uapi/linux/sem.h, include/uapi/asm-generic/siginfo.h */
#define SETVAL 16
#define SETALL 17
#define SI_TKILL -6

/* enum key_need_perm, include/linux/key.h */
#define KEY_NEED_VIEW 1
#define KEY_NEED_READ 2
#define KEY_NEED_WRITE 3

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct qstr {
    __u32 len;
    const unsigned char *name;
};

typedef struct {
    __u32 val;
} kuid_t;

struct super_block {
    __u32 s_dev;
    unsigned long s_magic;
};

struct inode {
    __u16 i_mode;
    kuid_t i_uid;
    struct super_block *i_sb;
    unsigned long i_ino;
    __u32 i_nlink;
    __u32 i_rdev;
    __u32 i_generation;
};

struct dentry {
    struct dentry *d_parent;
    struct qstr d_name;
    struct inode *d_inode;
    struct super_block *d_sb;
};

struct path {
    struct dentry *dentry;
};

struct vfsmount {
    struct dentry *mnt_root;
};

struct file {
    __u32 f_mode;
    __u32 f_flags;
    struct path f_path;
    struct inode *f_inode;
    void *private_data;
};

struct pipe_inode_info {
    __u32 writers;
};

/* Before Linux 6.13: how many hold the open file. */
struct file___counted {
    struct {
        long counter;
    } f_count;
};

struct io_kiocb {
    struct file *file;
};

/* What io_splice and io_tee find in their request. */
struct io_splice {
    int splice_fd_in;
    __u32 flags;
};

struct vm_area_struct {
    unsigned long vm_flags;
    struct file *vm_file;
};

struct fdtable {
    __u32 max_fds;
    struct file **fd;
};

struct files_struct {
    struct fdtable *fdt;
};

struct mm_struct {
    struct file *exe_file;
};

struct cred {
    kuid_t uid;
};

struct list_head {
    struct list_head *next;
};

struct signal_struct {
    struct list_head thread_head;
};

struct ns_common {
    unsigned int inum;
};

struct mnt_namespace {
    struct ns_common ns;
};

struct nsproxy {
    struct mnt_namespace *mnt_ns;
};

/* As a system call finds them (asm/ptrace.h of x86). */
struct pt_regs {
    unsigned long bx;
    unsigned long cx;
    unsigned long dx;
    unsigned long si;
    unsigned long di;
    unsigned long orig_ax;
};

struct task_struct {
    __u32 flags;
    int pid;
    int tgid;
    __u32 ptrace;
    __u32 sessionid;
    __u64 start_boottime;
    struct task_struct *parent;
    struct task_struct *real_parent;
    struct task_struct *group_leader;
    struct files_struct *files;
    struct mm_struct *mm;
    const struct cred *cred;
    struct signal_struct *signal;
    struct nsproxy *nsproxy;
    struct list_head thread_node;
    struct bpf_local_storage *bpf_storage;
};

/* The first argument of hooks since Linux 6.3. */
struct mnt_idmap {
    int exists;
};

struct linux_binprm {
    struct file *file;
};

struct in6_addr {
    union {
        __u8 u6_addr8[16];
    } in6_u;
};

struct sock_common {
    __be32 skc_daddr;
    __be16 skc_dport;
    __u16 skc_num;
    __u16 skc_family;
    struct in6_addr skc_v6_daddr;
};

struct sock {
    struct sock_common __sk_common;
    __u16 sk_type;
    __u16 sk_protocol;
};

struct unix_sock {
    struct sock sk;
    struct sock *peer;
};

struct socket {
    struct file *file;
    struct sock *sk;
};

struct msghdr {
    void *msg_name;
    int msg_namelen;
};

struct sockaddr {
    __u16 sa_family;
};

struct tty_driver {
    int major;
};

struct tty_struct {
    struct tty_driver *driver;
    int index;
};

struct tty_file_private {
    struct tty_struct *tty;
};

struct kern_ipc_perm {
    int id;
};

struct kernel_siginfo {
    int si_code;
};

struct bpf_map {
    __u32 id;
};

struct bpf_prog_aux {
    __u32 id;
};

struct bpf_prog {
    struct bpf_prog_aux *aux;
};

struct bpf_iter_meta {
    __u64 seq_num;
};

struct bpf_iter__task {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
};

struct bpf_iter__task_file {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
    __u32 fd;
    struct file *file;
};

struct bpf_iter__task_vma {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
    struct vm_area_struct *vma;
};

#pragma clang attribute pop

/* The layouts of addresses are fixed by the system call interface. */
struct sockaddr_in {
    __u16 sin_family;
    __be16 sin_port;
    __be32 sin_addr;
};

struct sockaddr_in6 {
    __u16 sin6_family;
    __be16 sin6_port;
    __be32 sin6_flowinfo;
    __u8 sin6_addr[16];
};

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

/*
 * A function that the verifier looks at once and not for each caller: it takes numbers and pointers to memory
 * (kernel objects by number), checks each pointer, and returns a number.
 */
#define VERIFIED_ONCE __attribute__((noinline))

/*
 * Objects that a hook was given are read as they are. Those that are known by number, or were reached by one, are read
 * by BPF_CORE_READ, which costs a call each time: `…_at` does so.
 */

/* What a hook says: the verifier wants to see that it is an error or nothing. */
static __always_inline int answer(int outcome)
{
    return outcome ? -EPERM : 0;
}

/* A pointer as the verifier takes it for a number. */
static __always_inline __u64 number_of(const void *pointer)
{
    __u64 number = 0;

    bpf_probe_read_kernel(&number, sizeof(number), &pointer);
    return number;
}

#endif
