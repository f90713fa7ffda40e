/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bytes that are moved out of a pipe without a read: splice(2), tee(2), vmsplice(2), and the first two by io_uring(7).
 *
 * No security hook is asked about the pipe. Into another pipe or a socket, the two carry the same from then on. Into a
 * file or to another host they are moved only where nobody else may fill the pipe while the mover waits in it: EINVAL
 * is what splice(2) says where it cannot be had, and programs then read and write.
 */
#ifndef VITRINE_SPLICE_BPF_H
#define VITRINE_SPLICE_BPF_H

#include "socket.bpf.h"

/* The numbers of splice(2): arch/x86/entry/syscalls of the kernel. */
#define NUMBER_SPLICE 275
#define NUMBER_SPLICE_32 313
/* Set in the numbers of 64-bit calls with 32-bit addresses. */
#define NUMBER_X32 0x40000000
#define PF_IO_WORKER 0x10
#define SPLICE_F_FD_IN_FIXED 0x80000000U

static __always_inline struct file *file_of(__u32 number)
{
    struct descriptors all = descriptors();

    return number < all.number ? descriptor(&all, number) : NULL;
}

static __always_inline struct source pipe_source(__u64 file)
{
    struct inode *inode = BPF_CORE_READ((struct file *)file, f_inode);
    struct source source = { .key = key_at(inode), .generation = BPF_CORE_READ(inode, i_generation) };

    return source;
}

static __always_inline bool is_pipe(__u64 file)
{
    return kind_at(BPF_CORE_READ((struct file *)file, f_inode)) == S_IFIFO;
}

/* The carrier that a pipe or a socket of this machine is, for who reads from it or writes into it. Whether it is one. */
VERIFIED_ONCE int find_carrier(__u64 number, __u32 reads, struct key *key)
{
    struct file *file = (struct file *)number;
    struct inode *inode = BPF_CORE_READ(file, f_inode);
    struct target target;
    struct socket *socket;
    struct sock *sk;
    __u16 here;
    bool near;

    if (!key)
        return 0;
    if (kind_at(inode) == S_IFIFO) {
        *key = key_at(inode);
        return 1;
    }
    if (kind_at(inode) != S_IFSOCK)
        return 0;
    socket = BPF_CORE_READ(file, private_data);
    sk = BPF_CORE_READ(socket, sk);
    begin_target(&target, sk);
    if (target.family == AF_UNIX) {
        *key = socket_key(reads ? sk : BPF_CORE_READ((struct unix_sock *)sk, peer));
        return 1;
    }
    if (target.family != AF_INET && target.family != AF_INET6)
        return 0;
    near = read_peer(&target, (__u64)sk) && is_loopback(target.address);
    if (!near && !(reads && target.protocol == IPPROTO_UDP))
        return 0;
    here = BPF_CORE_READ(sk, __sk_common.skc_num);
    *key = loopback_key(target.protocol, reads ? target.port : here, reads ? here : target.port);
    return 1;
}

/* Bytes are about to be moved from one open file into another; into none: into memory. */
VERIFIED_ONCE int move_between(__u64 from, __u64 to)
{
    struct key one, other;
    struct source source;

    if (!from || is_exempt(current_process()))
        return 0;
    if (is_pipe(from)) {
        source = pipe_source(from);
        read_from(begin_current(), &source);
    }
    if (to && find_carrier(from, true, &one) && find_carrier(to, false, &other))
        join_carriers(&one, &other);
    return 0;
}

SEC("fentry/__x64_sys_splice")
int BPF_PROG(splice, struct pt_regs *registers)
{
    return move_between((__u64)file_of(registers->di), (__u64)file_of(registers->dx));
}

SEC("fentry/__ia32_sys_splice")
int BPF_PROG(splice_32, struct pt_regs *registers)
{
    return move_between((__u64)file_of(registers->bx), (__u64)file_of(registers->dx));
}

SEC("fentry/__x64_sys_tee")
int BPF_PROG(tee, struct pt_regs *registers)
{
    return move_between((__u64)file_of(registers->di), (__u64)file_of(registers->si));
}

SEC("fentry/__ia32_sys_tee")
int BPF_PROG(tee_32, struct pt_regs *registers)
{
    return move_between((__u64)file_of(registers->bx), (__u64)file_of(registers->cx));
}

SEC("fentry/__x64_sys_vmsplice")
int BPF_PROG(vmsplice, struct pt_regs *registers)
{
    return move_between((__u64)file_of(registers->di), 0);
}

SEC("fentry/__ia32_sys_vmsplice")
int BPF_PROG(vmsplice_32, struct pt_regs *registers)
{
    return move_between((__u64)file_of(registers->bx), 0);
}

static __always_inline void note_ring(bool splices)
{
    struct task_struct *task = bpf_get_current_task_btf();
    __u32 thread = task->pid;
    struct reading *reading = bpf_map_lookup_elem(&readings, &thread);

    if (reading && !is_exempt(current_process()))
        reading->splices = splices;
}

/* By io_uring. A file that the ring keeps has no descriptor: the pipe that it comes to counts as full of masters. */
static __noinline int move_by_ring(struct io_kiocb *request)
{
    const struct settings *now = in_force();
    struct io_splice *wish = (struct io_splice *)request;
    __u64 to = (__u64)BPF_CORE_READ(request, file);
    struct label unknown = {};
    struct source source = {};
    struct key key;

    if (!now || !to || is_exempt(current_process()))
        return 0;
    if (!(BPF_CORE_READ(wish, flags) & SPLICE_F_FD_IN_FIXED)) {
        move_between((__u64)file_of(BPF_CORE_READ(wish, splice_fd_in)), to);
        return 0;
    }
    read_from(begin_current(), &source);
    unknown.rank = now->top;
    if (find_carrier(to, false, &key))
        label_carrier(&key, &unknown);
    return 0;
}

SEC("fentry/io_splice")
int BPF_PROG(ring_splice, struct io_kiocb *request)
{
    move_by_ring(request);
    note_ring(true);
    return 0;
}

SEC("fexit/io_splice")
int BPF_PROG(ring_spliced)
{
    note_ring(false);
    return 0;
}

SEC("fentry/io_tee")
int BPF_PROG(ring_tee, struct io_kiocb *request)
{
    return move_by_ring(request);
}

struct ends {
    struct descriptors all;
    __u64 inode;
    bool found;
};

static long look_for_writer(__u32 number, struct ends *ends)
{
    struct file *file;

    if (number >= ends->all.number)
        return 1;
    file = descriptor(&ends->all, number);
    if (!file || (__u64)BPF_CORE_READ(file, f_inode) != ends->inode || !(BPF_CORE_READ(file, f_mode) & FMODE_WRITE))
        return 0;
    ends->found = BPF_CORE_READ((struct file___counted *)file, f_count.counter) == 1;
    return 1;
}

/* Whether another process may write into a pipe. */
VERIFIED_ONCE int is_filled_by_others(__u64 pipe)
{
    struct pipe_inode_info *info = BPF_CORE_READ((struct file *)pipe, private_data);
    struct ends ends = { .inode = (__u64)BPF_CORE_READ((struct file *)pipe, f_inode) };
    __u32 writers = BPF_CORE_READ(info, writers);

    if (writers != 1 || !bpf_core_field_exists(struct file___counted, f_count))
        return writers != 0;
    ends.all = descriptors();
    bpf_loop(MAX_DESCRIPTORS, look_for_writer, &ends, 0);
    return !ends.found;
}

/* A file or a socket is written: whether that is refused because it is filled from a pipe by splice. */
VERIFIED_ONCE int splice_into(void)
{
    const struct settings *now = in_force();
    struct task_struct *task = bpf_get_current_task_btf();
    struct pt_regs *registers;
    const struct reading *reading;
    struct source source;
    __u32 thread = task->pid;
    __u64 number, pipe;

    if (task->flags & PF_IO_WORKER) {
        reading = bpf_map_lookup_elem(&readings, &thread);
        return reading && reading->splices && now && now->enforces ? -EINVAL : 0;
    }
    registers = (struct pt_regs *)bpf_task_pt_regs(task);
    number = registers->orig_ax & ~NUMBER_X32;
    if (number == NUMBER_SPLICE)
        pipe = (__u64)file_of(registers->di);
    else if (number == NUMBER_SPLICE_32)
        pipe = (__u64)file_of(registers->bx);
    else
        return 0;
    if (!pipe || !is_pipe(pipe) || is_exempt(current_process()))
        return 0;
    source = pipe_source(pipe);
    if (take_from(&source))
        return -EPERM;
    return now && now->enforces && is_filled_by_others(pipe) ? -EINVAL : 0;
}

#endif
