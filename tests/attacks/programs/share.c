/*
 * share WAY SCAN TO: one process reads the scan, another one that never opened it writes the copy. Both are
 * joined by memory or a queue that was there before the scan was read.
 */
#include "attack.h"
#include <linux/keyctl.h>
#include <mqueue.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { ROOM = 8 << 20 };
struct board {
	_Atomic size_t size; /* 0 until the bytes lie there */
	char bytes[ROOM];
};

/* Looks at the memory itself: a word through a pipe would be a second way. */
static void keep_when_there(struct board *board, const char *to)
{
	for (int look = 0; look < 400 && !board->size; look++)
		usleep(10000);
	must(board->size ? 0 : -1, "nothing came");
	spill(to, board->bytes, board->size);
}

static void pass_on(struct board *board, char **arguments)
{
	pid_t reader = must(fork(), "fork");

	if (!reader) {
		board->size = slurp(arguments[0], board->bytes, ROOM);
		_exit(0);
	}
	keep_when_there(board, arguments[1]);
	waitpid(reader, NULL, 0);
}

static void anonymous(char **arguments)
{
	pass_on(mapped(mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), "mmap"),
		arguments);
}

static void of_file(int fd, char **arguments)
{
	must(ftruncate(must(fd, "open"), sizeof(struct board)), "ftruncate");
	pass_on(mapped(mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), "mmap"), arguments);
}

static void posix_memory(char **arguments)
{
	int fd = shm_open("/share", O_RDWR | O_CREAT, 0600);

	shm_unlink("/share");
	of_file(fd, arguments);
}

static void mapped_file(char **arguments)
{
	char path[] = "/var/tmp/share.XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	of_file(fd, arguments);
}

static void sysv_memory(char **arguments)
{
	int id = must(shmget(IPC_PRIVATE, sizeof(struct board), 0600), "shmget");
	struct board *board = mapped(shmat(id, NULL, 0), "shmat");

	shmctl(id, IPC_RMID, NULL);
	pass_on(board, arguments);
}

static struct board board;
static char **words;

static int read_there(void *unused)
{
	board.size = slurp(words[0], board.bytes, ROOM);
	return unused != NULL;
}

/* Not a thread, not a copy: a process of its own in the same memory. */
static void clone_memory(char **arguments)
{
	static char stack[1 << 16];

	words = arguments;
	pid_t reader = must(clone(read_there, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL), "clone");
	waitpid(reader, NULL, 0);
	keep_when_there(&board, arguments[1]);
}

static int wait_there(void *pipe)
{
	board.size = read(*(int *)pipe, board.bytes, ROOM);
	pause();
	return 0;
}

/* The same, with a reader that waits in a pipe (which this process gets no bytes from) and lives on. */
static void clone_waiting(char **arguments)
{
	static char stack[1 << 16];
	int ends[2];

	must(pipe(ends), "pipe");
	pid_t reader = must(clone(wait_there, stack + sizeof(stack), CLONE_VM | SIGCHLD, ends), "clone");
	pid_t writer = must(fork(), "fork");

	if (!writer) {
		sleep(1);
		board.size = slurp(arguments[0], board.bytes, ROOM);
		must(write(ends[1], board.bytes, board.size < 65536 ? board.size : 65536), "write");
		_exit(0);
	}
	waitpid(writer, NULL, 0);
	keep_when_there(&board, arguments[1]);
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
}

static int open_there(void *fd)
{
	*(int *)fd = open(words[0], O_RDONLY);
	return 0;
}

/* The other process opens, this one finds the descriptor in the table they share. */
static void clone_files(char **arguments)
{
	static char stack[1 << 16];
	static int fd = -1;

	words = arguments;
	pid_t reader = must(clone(open_there, stack + sizeof(stack), CLONE_FILES | CLONE_VM | SIGCHLD, &fd), "clone");
	waitpid(reader, NULL, 0);
	board.size = must(read(must(fd, "open"), board.bytes, ROOM), "read");
	spill(arguments[1], board.bytes, board.size);
}

/* Who has read writes into the memory of one who has not. */
static void vm_write(char **arguments)
{
	pid_t writer = must(fork(), "fork");

	if (!writer) {
		alarm(15);
		keep_when_there(&board, arguments[1]);
		_exit(0);
	}
	board.size = slurp(arguments[0], board.bytes, ROOM);
	struct iovec bytes = { board.bytes, board.size }, size = { &board.size, sizeof(board.size) };
	ssize_t put = process_vm_writev(writer, &bytes, 1, &bytes, 1, 0);
	if (put < 0 || process_vm_writev(writer, &size, 1, &size, 1, 0) < 0) {
		perror("process_vm_writev");
		kill(writer, SIGKILL);
	}
	waitpid(writer, NULL, 0);
}

static void sysv_queue(char **arguments)
{
	struct { long type; char text[4096]; } message = { 1, "" };
	int id = must(msgget(IPC_PRIVATE, 0600), "msgget");
	pid_t reader = must(fork(), "fork");

	if (!reader) {
		board.size = slurp(arguments[0], message.text, sizeof(message.text));
		_exit(msgsnd(id, &message, board.size, 0) < 0);
	}
	int code;
	waitpid(reader, &code, 0);
	ssize_t got = code ? -1 : msgrcv(id, &message, sizeof(message.text), 0, IPC_NOWAIT);
	msgctl(id, IPC_RMID, NULL);
	spill(arguments[1], message.text, must(got, "msgrcv"));
}

static void posix_queue(char **arguments)
{
	struct mq_attr shape = { .mq_maxmsg = 1, .mq_msgsize = 4096 };
	char text[4096];
	mqd_t queue = must(mq_open("/share", O_RDWR | O_CREAT, 0600, &shape), "mq_open");

	mq_unlink("/share");
	pid_t reader = must(fork(), "fork");
	if (!reader)
		_exit(mq_send(queue, text, slurp(arguments[0], text, sizeof(text)), 0) < 0);
	int code;
	waitpid(reader, &code, 0);
	spill(arguments[1], text, must(code ? -1 : mq_receive(queue, text, sizeof(text), NULL), "mq_receive"));
}

static void keyring(char **arguments)
{
	char text[4096];
	long key = must(syscall(SYS_add_key, "user", "share", "-", 1, KEY_SPEC_USER_KEYRING), "add_key");
	pid_t reader = must(fork(), "fork");

	if (!reader)
		_exit(syscall(SYS_keyctl, KEYCTL_UPDATE, key, text, slurp(arguments[0], text, sizeof(text))) < 0);
	int code;
	waitpid(reader, &code, 0);
	long got = code ? -1 : syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof(text));
	syscall(SYS_keyctl, KEYCTL_UNLINK, key, KEY_SPEC_USER_KEYRING);
	spill(arguments[1], text, must(got, "KEYCTL_READ"));
}

enum { FEW = 256 };

static void semaphores(char **arguments)
{
	unsigned short values[FEW];
	char bytes[FEW];
	int id = must(semget(IPC_PRIVATE, FEW, 0600), "semget");
	pid_t reader = must(fork(), "fork");

	if (!reader) {
		slurp(arguments[0], bytes, FEW);
		for (int at = 0; at < FEW; at++)
			values[at] = (unsigned char)bytes[at];
		_exit(semctl(id, 0, SETALL, values) < 0);
	}
	int code;
	waitpid(reader, &code, 0);
	int got = code ? -1 : semctl(id, 0, GETALL, values);
	semctl(id, 0, IPC_RMID);
	must(got, "GETALL");
	for (int at = 0; at < FEW; at++)
		bytes[at] = values[at];
	spill(arguments[1], bytes, FEW);
}

static void signals(char **arguments)
{
	union sigval value;
	char bytes[FEW];
	sigset_t set;
	siginfo_t info;
	struct timespec patience = { .tv_sec = 3 };
	pid_t parent = getpid();

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pid_t reader = must(fork(), "fork");
	if (!reader) {
		slurp(arguments[0], bytes, FEW);
		for (size_t at = 0; at < FEW; at += sizeof(int)) {
			memcpy(&value.sival_int, bytes + at, sizeof(int));
			must(sigqueue(parent, SIGRTMIN, value), "sigqueue");
		}
		_exit(0);
	}
	for (size_t at = 0; at < FEW; at += sizeof(int)) {
		must(sigtimedwait(&set, &info, &patience), "sigtimedwait");
		memcpy(bytes + at, &info.si_value.sival_int, sizeof(int));
	}
	waitpid(reader, NULL, 0);
	spill(arguments[1], bytes, FEW);
}

/* Reads the scan and sleeps with its bytes in memory, for one who looks from outside. */
static void hold(char **arguments)
{
	board.size = slurp(arguments[0], board.bytes, ROOM);
	pause();
}

/* The same with the file open. */
static void hold_open(char **arguments)
{
	must(open(arguments[0], O_RDONLY), arguments[0]);
	pause();
}

static const struct way ways[] = {
	{ "anonymous", anonymous }, { "posix-memory", posix_memory }, { "mapped-file", mapped_file },
	{ "sysv-memory", sysv_memory }, { "clone-memory", clone_memory }, { "clone-waiting", clone_waiting }, { "clone-files", clone_files },
	{ "vm-write", vm_write }, { "sysv-queue", sysv_queue }, { "posix-queue", posix_queue }, { "keyring", keyring },
	{ "semaphores", semaphores }, { "signals", signals },
	{ "hold", hold }, { "hold-open", hold_open }, {}
};

int main(int count, char **arguments)
{
	return count >= 3 ? go(ways, arguments) : 2;
}
