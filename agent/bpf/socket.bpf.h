/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sockets, pipes, terminals, devices: what is no regular file.
 */
#ifndef VITRINE_SOCKET_BPF_H
#define VITRINE_SOCKET_BPF_H

#include "take.bpf.h"

/* Documentation/admin-guide/devices.txt of the kernel. */
#define MAJOR(device) ((device) >> 20)
#define MINOR(device) ((device) & 0xfffff)
#define MAJOR_TTY 4
#define MAJOR_TTYAUX 5
#define MINOR_TTY 0
#define MINOR_PTMX 2
#define MAJOR_LP 6
#define MAJOR_TAPE 9
#define MAJOR_MISC 10
#define MINOR_FUSE 229
#define MAJOR_SCSI 21
#define MAJOR_PTM 128
#define MAJOR_PTS 136
#define MAJOR_PTS_LAST 143
#define MAJOR_USB_MODEM 166
#define MAJOR_USB 180
#define MAJOR_USB_SERIAL 188
#define MAJOR_USB_RAW 189
#define TIOCSTI 0x5412

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1024);
    __type(key, __u32);
    __type(value, struct label);
} disks SEC(".maps");

/* How often a socket that carried a label has lain at an address in memory. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16384);
    __type(key, __u64);
    __type(value, __u64);
} addresses SEC(".maps");

static __always_inline struct key socket_key(struct sock *sk)
{
    struct key key = { .space = SPACE_SOCKET, .id = number_of(sk) };

    return key;
}

/* Whether a socket of the Internet protocols is connected within this machine. */
static __always_inline bool is_to_itself(struct sock *sk)
{
    __u8 address[16];

    if (sk->__sk_common.skc_family == AF_INET)
        map_address(address, sk->__sk_common.skc_daddr);
    else
        BPF_CORE_READ_INTO(&address, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
    return is_loopback(address);
}

static __always_inline struct source socket_source(struct sock *sk)
{
    struct source source = { .key = socket_key(sk) };
    const __u64 *generation = bpf_map_lookup_elem(&addresses, &source.key.id);

    if (generation)
        source.generation = *generation;
    return source;
}

/* Bytes are about to be sent by a socket, by somebody tainted; without a message to where it is connected. */
VERIFIED_ONCE int send(__u64 number, __u64 text, __u64 size)
{
    struct sock *sk = (struct sock *)number;
    struct msghdr *message = (struct msghdr *)text;
    struct process *process = tainted();
    struct target target;
    struct key key;
    void *name = NULL;

    if (!process || !sk)
        return 0;
    begin_target(&target, sk);
    switch (target.family) {
    case AF_UNIX:
        key = socket_key(BPF_CORE_READ((struct unix_sock *)sk, peer));
        give(&key);
        return 0;
    case AF_ALG:
        key = socket_key(sk);
        give(&key);
        return 0;
    case AF_NETLINK:
        /* To the kernel itself, but for one protocol. */
        if (target.protocol != NETLINK_USERSOCK)
            return 0;
        break;
    case AF_INET:
    case AF_INET6:
        if (message)
            name = BPF_CORE_READ(message, msg_name);
        if (name) {
            if (!read_address(&target, (__u64)name, BPF_CORE_READ(message, msg_namelen)))
                return 0;
        } else if (!read_peer(&target, number)) {
            return 0;
        }
        if (is_loopback(target.address) && BPF_CORE_READ(sk, sk_type) != SOCK_RAW && target.port != PORT_DOMAIN) {
            key = loopback_key(target.protocol, BPF_CORE_READ(sk, __sk_common.skc_num), target.port);
            give(&key);
            return 0;
        }
        find_ceiling(&target, process, size);
        end_target(&target);
        if (target.ceiling >= process->label.rank)
            return 0;
        return refuse(OPERATION_SEND, process, &process->label, &target);
    }
    target.kind = TARGET_SOCKET;
    target.ceiling = elsewhere();
    target.key.space = SPACE_HOST;
    target.key.id = target.family;
    if (target.ceiling >= process->label.rank)
        return 0;
    return refuse(OPERATION_SEND, process, &process->label, &target);
}

static __noinline int receive(struct sock *sk)
{
    __u16 family = sk->__sk_common.skc_family;
    __u16 protocol = sk->sk_protocol;
    struct source source = {};

    if (family == AF_UNIX || family == AF_ALG) {
        source = socket_source(sk);
    } else if (family == AF_INET || family == AF_INET6) {
        if (protocol != IPPROTO_UDP && !is_to_itself(sk))
            return 0;
        source.key = loopback_key(protocol, bpf_ntohs(sk->__sk_common.skc_dport), sk->__sk_common.skc_num);
    } else {
        return 0;
    }
    return take_from(&source);
}

SEC("lsm/socket_sendmsg")
int BPF_PROG(socket_sendmsg, struct socket *socket, struct msghdr *message, int size)
{
    if (!tainted())
        return 0;
    return answer(send((__u64)BPF_CORE_READ(socket, sk), number_of(message), size));
}

SEC("lsm/socket_recvmsg")
int BPF_PROG(socket_recvmsg, struct socket *socket)
{
    struct sock *sk = socket->sk;

    return sk ? answer(receive(sk)) : 0;
}

SEC("lsm/socket_connect")
int BPF_PROG(socket_connect, struct socket *socket, struct sockaddr *address, int length)
{
    struct process *process = tainted();
    struct target target;

    if (!process)
        return 0;
    begin_target(&target, BPF_CORE_READ(socket, sk));
    if (target.family != AF_INET && target.family != AF_INET6)
        return 0;
    if (!read_address(&target, number_of(address), length) || is_loopback(target.address))
        return 0;
    find_ceiling(&target, process, 0);
    end_target(&target);
    if (target.ceiling >= process->label.rank)
        return 0;
    return answer(refuse(OPERATION_CONNECT, process, &process->label, &target));
}

/* A datagram to another socket of this machine. */
SEC("lsm/unix_may_send")
int BPF_PROG(unix_may_send, struct socket *socket, struct socket *other)
{
    struct key key;

    if (!tainted())
        return 0;
    key = socket_key(other->sk);
    give(&key);
    return 0;
}

/* Its address in memory is used again, and so are its ports. */
SEC("lsm/sk_free_security")
int BPF_PROG(sk_free_security, struct sock *sk)
{
    __u16 protocol = BPF_CORE_READ(sk, sk_protocol);
    __u16 here = BPF_CORE_READ(sk, __sk_common.skc_num);
    struct key ports = loopback_key(protocol, bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport)), here);
    struct source source;
    __u64 next;

    if (!count_of(COUNTER_CARRIERS))
        return 0;
    if (here)
        retire(&ports, 0);
    source = socket_source(sk);
    if (!label_at(&source.key) && !group_of(&source.key))
        return 0;
    next = source.generation + 1;
    if (bpf_map_update_elem(&addresses, &source.key.id, &next, BPF_ANY))
        count(COUNTER_FULL);
    retire(&source.key, source.generation);
    return 0;
}

static __noinline int access_pipe(struct file *file, bool reads, bool writes)
{
    struct source source = source_of(file->f_inode);

    if (writes)
        give(&source.key);
    return reads ? take_from(&source) : 0;
}

/* A pipe of another process, opened by way of /proc: what that one carries may lie in it. */
static __noinline int open_foreign_pipe(struct inode *inode)
{
    struct process *process = current_process();
    struct key key = key_of(inode);

    if (process && process->looked.rank)
        label_carrier(&key, &process->looked);
    return 0;
}

/* One side of a pseudoterminal. */
struct terminal {
    __u64 number;
    bool is_master;
};

/* The pseudoterminal that an open file is, by whichever of its names. Whether it is one, and is known already. */
static __always_inline bool find_terminal(struct file *file, __u32 device, struct terminal *terminal)
{
    struct tty_file_private *private;
    struct tty_struct *tty;
    __u32 major = MAJOR(device);

    terminal->is_master = false;
    if (major >= MAJOR_PTS && major <= MAJOR_PTS_LAST) {
        terminal->number = (major - MAJOR_PTS) * 256 + MINOR(device);
        return true;
    }
    if (major != MAJOR_TTYAUX || (MINOR(device) != MINOR_TTY && MINOR(device) != MINOR_PTMX))
        return false;
    private = BPF_CORE_READ(file, private_data);
    if (!private)
        return false;
    tty = BPF_CORE_READ(private, tty);
    major = BPF_CORE_READ(tty, driver, major);
    terminal->number = BPF_CORE_READ(tty, index);
    terminal->is_master = major == MAJOR_PTM;
    return major == MAJOR_PTM || major == MAJOR_PTS;
}

/* What a program prints is read by whoever holds the terminal's other side, and the reverse. */
static __always_inline struct source printed_on(const struct terminal *terminal)
{
    struct source source = { .key = { .space = SPACE_TERMINAL, .id = terminal->number * 2 } };

    return source;
}

static __always_inline struct source typed_into(const struct terminal *terminal)
{
    struct source source = { .key = { .space = SPACE_TERMINAL, .id = terminal->number * 2 + 1 } };

    return source;
}

static __noinline int access_terminal(struct file *file, __u32 device, bool reads, bool writes)
{
    struct terminal terminal;
    struct source printed, typed;

    if (!find_terminal(file, device, &terminal))
        return 0;
    printed = printed_on(&terminal);
    typed = typed_into(&terminal);
    if (writes)
        give(terminal.is_master ? &typed.key : &printed.key);
    return reads ? take_from(terminal.is_master ? &printed : &typed) : 0;
}

VERIFIED_ONCE int write_device(__u32 device, __u32 block)
{
    struct process *process = tainted();
    struct target target = { .kind = TARGET_DEVICE, .ceiling = elsewhere() };

    if (!process || target.ceiling >= process->label.rank)
        return 0;
    target.key.space = SPACE_DEVICE | block;
    target.key.id = device;
    return refuse(OPERATION_WRITE, process, &process->label, &target);
}

static __always_inline int access_character_device(struct file *file, __u32 device, bool reads, bool writes)
{
    struct key daemon = { .space = SPACE_FUSE, .id = 1 };
    __u32 major = MAJOR(device);

    if ((major >= MAJOR_PTS && major <= MAJOR_PTS_LAST) || major == MAJOR_TTYAUX)
        return access_terminal(file, device, reads, writes);
    if (!writes)
        return 0;
    switch (major) {
    case MAJOR_MISC:
        if (MINOR(device) == MINOR_FUSE)
            give(&daemon);
        return 0;
    case MAJOR_TTY:
        /* Below 64 are the consoles of this machine's own screen. */
        return MINOR(device) >= 64 ? write_device(device, false) : 0;
    case MAJOR_LP:
    case MAJOR_TAPE:
    case MAJOR_SCSI:
    case MAJOR_USB_MODEM:
    case MAJOR_USB:
    case MAJOR_USB_SERIAL:
    case MAJOR_USB_RAW:
        return write_device(device, false);
    default:
        return 0;
    }
}

static __always_inline int access_block_device(struct file *file, __u32 device, bool reads, bool writes)
{
    const struct label *held = reads ? bpf_map_lookup_elem(&disks, &device) : NULL;
    struct label label;
    int outcome;

    if (held) {
        label = *held;
        outcome = take_file((__u64)BPF_CORE_READ(file, f_path.dentry), &label, OPERATION_OPEN);
        if (outcome)
            return outcome;
    }
    return writes ? write_device(device, true) : 0;
}

/* A POSIX message queue: its sends and receives are not asked about, so who may do either counts. */
static __noinline int open_queue(struct inode *inode, bool reads, bool writes)
{
    struct source source = source_of(inode);

    if (writes)
        give(&source.key);
    if (!reads)
        return 0;
    return take_from(&source) ?: remember(begin_current(), &source, writes);
}

/* What is no write and puts bytes into a terminal or a device all the same. */
static __noinline int control(struct file *file, __u32 command)
{
    __u32 device = file->f_inode->i_rdev;
    struct terminal terminal;
    struct source typed;

    switch (MAJOR(device)) {
    case MAJOR_SCSI:
    case MAJOR_USB:
    case MAJOR_USB_RAW:
        return write_device(device, false);
    }
    /* As if it had been typed there. */
    if (command == TIOCSTI && find_terminal(file, device, &terminal)) {
        typed = typed_into(&terminal);
        give(&typed.key);
    }
    return 0;
}

SEC("lsm/file_ioctl")
int BPF_PROG(file_ioctl, struct file *file, unsigned int command)
{
    /* What nobody may change, the agent cannot either. */
    if ((command == FS_IOC_SETFLAGS || command == FS_IOC_FSSETXATTR) &&
        shelter(number_of(file->f_path.dentry), OPERATION_CHANGE))
        return -EPERM;
    if (kind_of(file->f_inode) != S_IFCHR || !tainted())
        return 0;
    return answer(control(file, command));
}

static __noinline int access_special(struct file *file, bool reads, bool writes)
{
    struct inode *inode = file->f_inode;
    struct socket *socket;

    switch (kind_of(inode)) {
    case S_IFIFO:
        return access_pipe(file, reads, writes);
    case S_IFSOCK:
        socket = bpf_sock_from_file(file);
        if (!socket)
            return 0;
        if (reads && socket->sk) {
            int outcome = receive(socket->sk);

            if (outcome)
                return outcome;
        }
        return writes && tainted() ? send((__u64)BPF_CORE_READ(socket, sk), 0, 0) : 0;
    case S_IFCHR:
        return access_character_device(file, inode->i_rdev, reads, writes);
    case S_IFBLK:
        return access_block_device(file, inode->i_rdev, reads, writes);
    default:
        return 0;
    }
}

#endif
