/*
 * grip WAY WHAT
 *
 * Lays hands on the agent, and exits with 0 where that is let:
 *
 *   ptrace, memory, write, pidfd   traces the process WHAT; opens its memory; writes it; takes a descriptor of it
 *   limit, priority                takes its processor time; puts it behind all others
 *   named                          takes the map that is pinned as WHAT, and changes it
 *   numbered                       looks through all maps for the one called WHAT, and changes it
 *   program                        takes the program called WHAT by its number
 */
#include "attack.h"
#include <linux/bpf.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static int bpf(int command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static void with_ptrace(char **arguments)
{
	pid_t agent = atoi(arguments[0]);

	must(ptrace(PTRACE_ATTACH, agent, 0, 0), "PTRACE_ATTACH");
	waitpid(agent, NULL, __WALL);
	ptrace(PTRACE_DETACH, agent, 0, 0);
}

static void with_memory(char **arguments)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/mem", arguments[0]);
	must(open(path, O_RDWR), path);
}

/* The first address of its own program's data that can be written. */
static unsigned long writable(const char *process)
{
	char path[64], line[512], first;
	unsigned long from;

	snprintf(path, sizeof(path), "/proc/%s/maps", process);
	FILE *maps = fopen(path, "r");
	must(maps ? 0 : -1, path);
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%*x %c%c", &from, &first, &line[0]) == 3 && line[0] == 'w')
			return from;
	return must(-1, "a writable piece");
}

/* Puts back what is there. */
static void with_write(char **arguments)
{
	char byte;
	struct iovec ours = { &byte, 1 }, theirs = { (void *)writable(arguments[0]), 1 };

	must(process_vm_readv(atoi(arguments[0]), &ours, 1, &theirs, 1, 0), "process_vm_readv");
	must(process_vm_writev(atoi(arguments[0]), &ours, 1, &theirs, 1, 0), "process_vm_writev");
}

static void with_pidfd(char **arguments)
{
	int pidfd = must(syscall(SYS_pidfd_open, atoi(arguments[0]), 0), "pidfd_open");

	must(syscall(SYS_pidfd_getfd, pidfd, 0, 0), "pidfd_getfd");
}

static void with_limit(char **arguments)
{
	struct rlimit before, less;

	must(prlimit(atoi(arguments[0]), RLIMIT_NPROC, NULL, &before), "prlimit");
	less = before;
	less.rlim_cur = before.rlim_cur > 1000 ? before.rlim_cur - 1 : before.rlim_cur;
	must(prlimit(atoi(arguments[0]), RLIMIT_NPROC, &less, NULL), "prlimit");
	prlimit(atoi(arguments[0]), RLIMIT_NPROC, &before, NULL);
}

static void with_priority(char **arguments)
{
	must(setpriority(PRIO_PROCESS, atoi(arguments[0]), 19), "setpriority");
	setpriority(PRIO_PROCESS, atoi(arguments[0]), 0);
}

/* Takes the first entry of a map, and puts it back as it was. */
static void change(int map)
{
	static char value[1 << 16];
	static char key[4096], next[4096];
	union bpf_attr attributes = { .map_fd = map, .key = (__u64)key, .next_key = (__u64)next };

	attributes.key = 0;
	must(bpf(BPF_MAP_GET_NEXT_KEY, &attributes), "BPF_MAP_GET_NEXT_KEY");
	memset(&attributes, 0, sizeof(attributes));
	attributes.map_fd = map;
	attributes.key = (__u64)next;
	attributes.value = (__u64)value;
	must(bpf(BPF_MAP_LOOKUP_ELEM, &attributes), "BPF_MAP_LOOKUP_ELEM");
	must(bpf(BPF_MAP_UPDATE_ELEM, &attributes), "BPF_MAP_UPDATE_ELEM");
}

static void with_named(char **arguments)
{
	union bpf_attr attributes = { .pathname = (__u64)arguments[0] };

	change(must(bpf(BPF_OBJ_GET, &attributes), arguments[0]));
}

/* A descriptor of what is called so; the last refusal where there is none. */
static int numbered(int next, int take, const char *name)
{
	union bpf_attr attributes = {};
	__u32 id = 0;
	int refused = ENOENT;

	for (;;) {
		memset(&attributes, 0, sizeof(attributes));
		attributes.start_id = id;
		if (bpf(next, &attributes))
			break;
		id = attributes.next_id;
		memset(&attributes, 0, sizeof(attributes));
		attributes.map_id = id;
		int fd = bpf(take, &attributes);
		if (fd < 0) {
			refused = errno;
			continue;
		}
		struct bpf_map_info map = {};
		struct bpf_prog_info program = {};
		bool is_map = take == BPF_MAP_GET_FD_BY_ID;

		memset(&attributes, 0, sizeof(attributes));
		attributes.info.bpf_fd = fd;
		attributes.info.info_len = is_map ? sizeof(map) : sizeof(program);
		attributes.info.info = is_map ? (__u64)&map : (__u64)&program;
		if (!bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes) && !strcmp(is_map ? map.name : program.name, name))
			return fd;
		close(fd);
	}
	errno = refused;
	return -1;
}

static void with_numbered(char **arguments)
{
	change(must(numbered(BPF_MAP_GET_NEXT_ID, BPF_MAP_GET_FD_BY_ID, arguments[0]), arguments[0]));
}

static void with_program(char **arguments)
{
	must(numbered(BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID, arguments[0]), arguments[0]);
}

static const struct way ways[] = {
	{ "ptrace", with_ptrace }, { "memory", with_memory }, { "write", with_write }, { "pidfd", with_pidfd }, { "limit", with_limit },
	{ "priority", with_priority }, { "named", with_named }, { "numbered", with_numbered }, { "program", with_program }, {}
};

int main(int count, char **arguments)
{
	return count == 3 ? go(ways, arguments) : 2;
}
