/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Destinations on the network: the longest prefix that holds the address, then its port. Loopback and Unix
 * sockets are no destinations but carry labels to whoever reads them.
 */
#ifndef VITRINE_NETWORK_BPF_H
#define VITRINE_NETWORK_BPF_H

#include "place.bpf.h"

#define PORT_DOMAIN 53
/* What one tainted process may ask name servers in its life, in bytes: a few dozen names. */
#define NAME_BYTES 2048

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16384);
    __type(key, struct network);
    __type(value, struct hosts);
} networks SEC(".maps");

static __always_inline bool is_loopback(const __u8 *address)
{
    const __u64 *halves = (const __u64 *)address;

    if (halves[0])
        return false;
    if (halves[1] == bpf_cpu_to_be64(1))
        return true;
    /* ::ffff:127.0.0.0/104 */
    return (halves[1] & bpf_cpu_to_be64(0xffffffffff000000ULL)) == bpf_cpu_to_be64(0x0000ffff7f000000ULL);
}

static __always_inline void map_address(__u8 *address, __be32 v4)
{
    __u32 *words = (__u32 *)address;

    words[0] = 0;
    words[1] = 0;
    words[2] = bpf_htonl(0xffff);
    words[3] = v4;
}

/* Fills in an address of the system call interface; whether it is one of a host. */
VERIFIED_ONCE int read_address(struct target *target, __u64 where, __u32 length)
{
    const void *address = (const void *)where;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    __u16 family;

    if (!target || length < sizeof(v4) || bpf_probe_read_kernel(&family, sizeof(family), address))
        return 0;
    if (family == AF_INET) {
        if (bpf_probe_read_kernel(&v4, sizeof(v4), address))
            return 0;
        map_address(target->address, v4.sin_addr);
        target->port = bpf_ntohs(v4.sin_port);
    } else if (family == AF_INET6) {
        if (length < 24 || bpf_probe_read_kernel(&v6, 24, address))
            return 0;
        __builtin_memcpy(target->address, v6.sin6_addr, sizeof(v6.sin6_addr));
        target->port = bpf_ntohs(v6.sin6_port);
    } else {
        return 0;
    }
    return 1;
}

/* The host that a socket is connected to; whether it is. */
VERIFIED_ONCE int read_peer(struct target *target, __u64 number)
{
    struct sock *sk = (struct sock *)number;
    const __u64 *halves;
    __u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

    if (!target)
        return 0;
    target->port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
    if (family == AF_INET) {
        map_address(target->address, BPF_CORE_READ(sk, __sk_common.skc_daddr));
        return BPF_CORE_READ(sk, __sk_common.skc_daddr) != 0;
    }
    BPF_CORE_READ_INTO(&target->address, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
    halves = (const __u64 *)target->address;
    return halves[0] || halves[1];
}

VERIFIED_ONCE int find_ceiling(struct target *target, struct process *process, __u64 size)
{
    struct network network = { .prefix = 128 };
    const struct hosts *hosts;

    if (!target)
        return 0;
    __builtin_memcpy(network.address, target->address, sizeof(network.address));
    hosts = bpf_map_lookup_elem(&networks, &network);
    target->ceiling = hosts ? hosts->ceiling : elsewhere();
    if (!hosts)
        return 0;
    for (int i = 0; i < PORTS; i++) {
        if (i < hosts->ports && hosts->numbers[i] == target->port)
            target->ceiling = hosts->ceilings[i];
    }
    if (process && hosts->is_resolver && target->port == PORT_DOMAIN) {
        __u64 asked = __sync_fetch_and_add(&process->name_bytes, size);

        if (asked + size <= NAME_BYTES)
            target->ceiling = NO_CEILING;
    }
    return 0;
}

static __always_inline void begin_target(struct target *target, struct sock *sk)
{
    __builtin_memset(target, 0, sizeof(*target));
    target->family = BPF_CORE_READ(sk, __sk_common.skc_family);
    target->protocol = BPF_CORE_READ(sk, sk_protocol);
    target->kind = TARGET_HOST;
}

static __always_inline void end_target(struct target *target)
{
    const __u64 *halves = (const __u64 *)target->address;

    target->key.space = SPACE_HOST | (__u64)target->port << 8 | (target->protocol & 0xff);
    target->key.id = halves[0] ^ halves[1];
}

/* The carrier that the bytes of a loopback connection lie in: by the ports of who sends and who receives. */
static __always_inline struct key loopback_key(__u16 protocol, __u16 from, __u16 to)
{
    struct key key = { .space = SPACE_LOOPBACK };

    key.id = (__u64)protocol << 32 | (protocol == IPPROTO_UDP ? 0 : (__u64)from << 16) | to;
    return key;
}

#endif
