/* copy WAY FROM TO: copies through one system call that a shell has no word for. */
#include "attack.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

static int from, to;

static void both(char **arguments)
{
	from = must(open(arguments[0], O_RDONLY), arguments[0]);
	to = must(open(arguments[1], O_WRONLY | O_CREAT | O_TRUNC, 0644), arguments[1]);
}

static void read_late(char **arguments)
{
	static char buffer[1 << 16];
	ssize_t got;

	to = must(open(arguments[1], O_WRONLY | O_CREAT | O_TRUNC, 0644), arguments[1]);
	from = must(open(arguments[0], O_RDONLY), arguments[0]);
	while ((got = must(read(from, buffer, sizeof(buffer)), "read")) > 0)
		must(write(to, buffer, got), "write");
}

static void byte_wise(char **arguments)
{
	char byte;

	both(arguments);
	for (int count = 0; count < 4096 && must(read(from, &byte, 1), "read") == 1; count++)
		must(write(to, &byte, 1), "write");
}

static void tee_pipe(char **arguments)
{
	int first[2], second[2];
	ssize_t got;

	both(arguments);
	must(pipe(first), "pipe");
	must(pipe(second), "pipe");
	while ((got = must(splice(from, NULL, first[1], NULL, 1 << 16, 0), "splice")) > 0) {
		char rest[1 << 16];

		must(tee(first[0], second[1], got, 0), "tee");
		must(read(first[0], rest, got), "read");
		must(splice(second[0], NULL, to, NULL, got, 0), "splice");
	}
}

static void vmsplice_pipe(char **arguments)
{
	static char buffer[8 << 20];
	struct iovec part = { buffer, slurp(arguments[0], buffer, sizeof(buffer)) };
	int ends[2];

	to = must(open(arguments[1], O_WRONLY | O_CREAT | O_TRUNC, 0644), arguments[1]);
	must(pipe(ends), "pipe");
	while (part.iov_len) {
		ssize_t put = must(vmsplice(ends[1], &part, 1, SPLICE_F_GIFT), "vmsplice");

		part.iov_base = (char *)part.iov_base + put;
		part.iov_len -= put;
		while (put)
			put -= must(splice(ends[0], NULL, to, NULL, put, 0), "splice");
	}
}

static void reflink(char **arguments)
{
	both(arguments);
	must(ioctl(to, FICLONE, from), "FICLONE");
}

static void direct(char **arguments)
{
	size_t block = 1 << 16;
	char *buffer = mapped(mmap(NULL, block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
	ssize_t got;

	from = must(open(arguments[0], O_RDONLY | O_DIRECT), arguments[0]);
	to = must(open(arguments[1], O_WRONLY | O_CREAT | O_TRUNC, 0644), arguments[1]);
	while ((got = must(read(from, buffer, block), "read")) > 0)
		must(write(to, buffer, got), "write");
}

static const struct way ways[] = {
	{ "read-late", read_late }, { "byte-wise", byte_wise }, { "tee", tee_pipe }, { "vmsplice", vmsplice_pipe },
	{ "reflink", reflink }, { "direct", direct }, {}
};

int main(int count, char **arguments)
{
	return count == 4 ? go(ways, arguments) : 2;
}
