/* What the programs have in common: a table of ways, the bytes of a file, an end when something is refused. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct way {
	const char *name;
	void (*go)(char **arguments);
};

static inline long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		_exit(1);
	}
	return result;
}

static inline void *mapped(void *address, const char *what)
{
	must(address == MAP_FAILED ? -1 : 0, what);
	return address;
}

/* Reads up to `room` bytes of a file; who calls this has read a master. */
static inline size_t slurp(const char *path, char *buffer, size_t room)
{
	int fd = must(open(path, O_RDONLY), path);
	size_t size = 0;
	ssize_t got;

	while (size < room && (got = must(read(fd, buffer + size, room - size), path)) > 0)
		size += got;
	close(fd);
	return size;
}

static inline void spill(const char *path, const char *buffer, size_t size)
{
	int fd = must(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644), path);

	for (size_t done = 0; done < size;)
		done += must(write(fd, buffer + done, size - done), path);
	close(fd);
}

/* program WAY ARGUMENT... */
static inline int go(const struct way *ways, char **arguments)
{
	alarm(15);
	for (; ways->name; ways++)
		if (arguments[1] && !strcmp(ways->name, arguments[1])) {
			ways->go(arguments + 2);
			return 0;
		}
	fprintf(stderr, "%s: no such way\n", arguments[0]);
	return 2;
}
