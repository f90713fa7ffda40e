/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel's side of the flow guard and the agent tell each other: the only definition of both.
 * Every structure has a fixed size and no padding of the compiler's; `bindgen` makes the Rust side.
 */
#ifndef VITRINE_RECORD_H
#define VITRINE_RECORD_H

#ifndef __BPF__
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
#endif

/* Masters that one process is remembered to have read; the latest first. */
#define MASTERS 4
/* Parents told of in an event. */
#define PARENTS 6
#define PORTS 15
#define SUFFIX 12
#define NAME_TEXT 60
#define TARGET_TEXT 1024
#define PROGRAM_TEXT 512
/* A ceiling that every rank stays below. */
#define NO_CEILING 255

/*
 * What can carry a label: an inode by the number of its file system (the kernel's own dev_t, major << 20 |
 * minor) and its own, or one of the spaces below and a number in it.
 */
struct key {
    __u64 space;
    __u64 id;
};

#define SPACE(number) ((__u64)(number) << 40)
#define SPACE_SOCKET SPACE(1)
#define SPACE_LOOPBACK SPACE(2)
#define SPACE_ANONYMOUS SPACE(3)
#define SPACE_KEYRING SPACE(4)
#define SPACE_QUEUE SPACE(5)
#define SPACE_FUSE SPACE(6)
#define SPACE_TERMINAL SPACE(7)
#define SPACE_HOST SPACE(8)
#define SPACE_DEVICE SPACE(9)

/* A label: the rank is the tier's, counted from 1; 0 is no label. */
struct label {
    __u8 rank;
    /* Number of the vault, from 1; 0: anybody may read. */
    __u8 vault;
    __u16 flags;
    __u32 reserved;
    /* The master, or the file that lies in a collection. */
    struct key master;
};

/* The label was taken over from the process that wrote, and has not been measured since. */
#define LABEL_INHERITED 1
/* Of a directory: something labelled lies below it. */
#define LABEL_BELOW 2

/* A directory that the policy names, by its inode. */
struct place {
    __u8 flags;
    __u8 rank;
    __u8 vault;
    __u8 ceiling;
    /* Which endings of names count as masters. */
    __u32 suffixes;
};

#define PLACE_COLLECTION 1
#define PLACE_DESTINATION 2
/* Not of a directory, but of a file in it. */
#define PLACE_FILE 8
/* Every name in the collection is a master's. */
#define PLACE_EVERY_NAME 4

/* The name of a destination, or of a directory on the way to one, in its directory; cut where it is longer. */
struct name {
    struct key directory;
    __u32 length;
    char text[NAME_TEXT];
};

struct suffix {
    __u32 set;
    char text[SUFFIX];
};

/* A mounted file system. One that the kernel's side does not know is a destination that nobody named. */
struct mounted {
    __u8 is_destination;
    __u8 ceiling;
    /* Kinds of the directories of the policy that lie on it: nobody need look for others. */
    __u8 places;
    __u8 reserved;
};

/* A network, by the prefix of its address; IPv4 is mapped into IPv6 (RFC 4291, 2.5.5.2). */
struct network {
    __u32 prefix;
    __u8 address[16];
};

struct hosts {
    __u8 ceiling;
    __u8 ports;
    /* Where programs ask for names. */
    __u8 is_resolver;
    __u8 ceilings[PORTS];
    __u16 numbers[PORTS];
};

/* A program that the policy names, by the inode of its executable. */
struct program {
    __u8 number;
    __u8 trust;
    __u16 reserved;
    __u32 reserved2;
    /* The vaults that it may open, one bit each, from 1. */
    __u64 vaults;
};

#define TRUST_NONE 0
#define TRUST_EXEMPT 1
#define TRUST_COPIER 2

/* What all members of a group of processes carry; `next` is the group that it has become a part of. */
struct group {
    struct label label;
    /* The group that it has become a part of; 0: none. */
    __u64 next;
    /* How many steps it is to this one at most from those that are parts of it. */
    __u64 depth;
    /* The round in which a member was seen last. */
    __u64 round;
};

/* The label of what has come to an end, and the round in which it did. */
struct ended {
    struct label label;
    __u64 round;
};

struct settings {
    /* Another with every change of what the policy says of directories. */
    __u64 generation;
    /* What nobody but the kernel and the agent knows. */
    __u64 secret;
    /* Which policy it is; for the next agent. */
    __u64 policy;
    __u32 agent;
    __u8 enforces;
    __u8 elsewhere;
    /* The rank of masters. */
    __u8 top;
    __u8 reserved;
};

#define SHIELD_OFF 0
#define SHIELD_AUDIT 1
#define SHIELD_ENFORCE 2
/* A minisign public key in base64. */
#define KEY_TEXT 56
/* Nanoseconds of one clock tick, in which `/proc` counts (USER_HZ is 100 on every architecture that Debian ships). */
#define TICK 10000000

/* What is the agent's is kept from root. Processes are named with when they started, in ticks: numbers are used again. */
struct shield {
    /* Until when maintenance is open, in nanoseconds since boot. */
    __u64 until;
    /* When the agent (`settings.agent`), and who started it, were started. */
    __u64 agent_started;
    __u64 starter_started;
    __u32 starter;
    /* The mount namespace of the agent, by the number of its inode. */
    __u32 mounts;
    __u8 mode;
    __u8 reserved[7];
    /* The key that tokens are signed with: for the next agent, whatever its settings say. */
    char key[KEY_TEXT];
};

#define SHELTER_FILE 1
/* A directory with all that lies in it. */
#define SHELTER_TREE 2
/* A directory above one of these. */
#define SHELTER_ABOVE 4
/* The agent's program. */
#define SHELTER_PROGRAM 8
/* Not of a file: something of the agent's lies on this file system. */
#define SHELTER_DISK 16

#define OWN_MAP 1
#define OWN_PROGRAM 2

enum event_kind {
    EVENT_ATTEMPT = 1,
    /* A file got its label from who wrote it. */
    EVENT_WRITTEN = 2,
    /* A file without a label comes to a destination: its content may be one that is known. */
    EVENT_ARRIVING = 3,
    /* Somebody touches what is the agent's: a file in `target`, or the signal in `port`. He may if `ceiling` is not 0. */
    EVENT_TOUCHED = 4,
};

enum operation {
    OPERATION_OPEN = 1,
    OPERATION_WRITE = 2,
    OPERATION_RENAME = 3,
    OPERATION_LINK = 4,
    OPERATION_CREATE = 5,
    OPERATION_CONNECT = 6,
    OPERATION_SEND = 7,
    OPERATION_MAP = 8,
    OPERATION_RECEIVE = 9,
    OPERATION_SIGNAL = 10,
    OPERATION_LOOK_INTO = 11,
    /* Limits and priorities of a process. */
    OPERATION_LIMIT = 12,
    OPERATION_REMOVE = 13,
    /* Attributes of a file. */
    OPERATION_CHANGE = 14,
    OPERATION_MOUNT = 15,
    /* To get hold of a map or a program. */
    OPERATION_HOLD = 16,
};

enum target_kind {
    /* A file; its path stands in `target`, leaf first, each part ended by a zero byte. */
    TARGET_FILE = 1,
    TARGET_HOST = 2,
    /* A socket of a family that has no hosts and ports. */
    TARGET_SOCKET = 3,
    /* A device without a file system. */
    TARGET_DEVICE = 4,
};

struct event {
    __u8 kind;
    __u8 operation;
    __u8 target_kind;
    __u8 denied;
    __u8 ceiling;
    __u8 program;
    __u16 port;
    __u32 process;
    __u32 thread;
    __u32 user;
    __u32 session;
    __u64 started;
    __u32 parents[PARENTS];
    struct label label;
    struct key more[MASTERS - 1];
    struct key target;
    struct key executable;
    __u8 address[16];
    __u16 family;
    __u16 protocol;
    __u32 reserved;
    char command[16];
    char target_text[TARGET_TEXT];
    char program_text[PROGRAM_TEXT];
};

enum counter {
    /* Attempts that the ring buffer had no room for. */
    COUNTER_UNTOLD,
    /* Files that were written, or came to a destination, and that it had no room for. */
    COUNTER_UNMEASURED,
    /* Labels that could not be kept. */
    COUNTER_FULL,
    /* Memory that was shared beyond what is remembered of one process for certain. */
    COUNTER_CROWDED,
    /* As many of each of these as there are records of; set by the agent. */
    COUNTER_UNTOLD_RECORDED,
    COUNTER_UNMEASURED_RECORDED,
    COUNTER_FULL_RECORDED,
    COUNTER_CROWDED_RECORDED,
    /* Pipes, sockets and shared memory that got a label. */
    COUNTER_CARRIERS,
    /* Memory groups given out. */
    COUNTER_GROUPS,
    /* Directories that were moved or have come to an end. */
    COUNTER_MOVES,
    /* When the last one was about to be moved, in nanoseconds since boot. */
    COUNTER_MOVED,
    /* Pipes and sockets that were made one by splice(2) or tee(2). */
    COUNTER_JOINED,
    /* How often the groups of all processes have been looked through; set by the agent. */
    COUNTER_ROUND,
    /* Labels that were set, here and by the agent; what was found to have none is looked at again after each. */
    COUNTER_LABELLED,
    COUNTER_LABELLED_BY_AGENT,
    /* Threads that were made: so the agent sees that the programs are asked at all. */
    COUNTER_ASKED,
    COUNTERS,
};

#endif
