/*
 * One small thing, done so often, in nanoseconds each.
 *
 *   micro open COUNT FILE     opens and closes FILE: median and 99th percentile; a refused open counts too
 *   micro pipe COUNT          one byte to another process and back: mean
 *   micro tcp MIB             bytes through a loopback connection: MiB a second
 *   micro vault COUNT FILE    opens FILE: how many opens succeeded
 *   micro labels COUNT MAP    adds so many labels to the pinned map MAP and takes them away again: the bytes that the
 *                             kernel says the map holds with them
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000L + time.tv_nsec;
}

static int ascending(const void *one, const void *other)
{
	long a = *(const long *)one, b = *(const long *)other;

	return (a > b) - (a < b);
}

static void opens(long count, const char *file)
{
	long *took = calloc(count, sizeof(*took));

	for (long done = 0; done < count; done++) {
		long began = now();
		int fd = open(file, O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			close(fd);
		took[done] = now() - began;
	}
	qsort(took, count, sizeof(*took), ascending);
	printf("%ld %ld\n", took[count / 2], took[count * 99 / 100]);
}

static void pipes(long count)
{
	int there[2], back[2];
	char byte = 0;

	if (pipe(there) || pipe(back))
		exit(1);
	if (fork() == 0) {
		close(there[1]);
		while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
			;
		_exit(0);
	}
	long began = now();

	for (long done = 0; done < count; done++) {
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			exit(1);
	}
	printf("%ld\n", (now() - began) / count);
	close(there[1]);
	wait(NULL);
}

static void tcp(long mebibytes)
{
	static char block[65536];
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	long left = mebibytes << 20;

	if (bind(listener, (void *)&address, length) || listen(listener, 1) ||
	    getsockname(listener, (void *)&address, &length))
		exit(1);
	if (fork() == 0) {
		int sender = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(sender, (void *)&address, length))
			_exit(1);
		for (long sent = 0; sent < left; sent += sizeof(block)) {
			if (send(sender, block, sizeof(block), MSG_WAITALL) != sizeof(block))
				_exit(1);
		}
		_exit(0);
	}
	int receiver = accept(listener, NULL, NULL);
	long began = now();

	while (left > 0) {
		ssize_t got = recv(receiver, block, sizeof(block), 0);

		if (got <= 0)
			exit(1);
		left -= got;
	}
	printf("%.1f\n", mebibytes * 1e9 / (now() - began));
	wait(NULL);
}

static void vault(long count, const char *file)
{
	long opened = 0;

	for (long done = 0; done < count; done++) {
		int fd = open(file, O_RDONLY | O_CLOEXEC);

		if (fd >= 0) {
			opened++;
			close(fd);
		}
	}
	printf("%ld\n", opened);
}

static int bpf(int command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static void labels(long count, const char *map)
{
	/* As `struct key` and `struct label` of agent/bpf/record.h, on a device that does not exist. */
	struct { unsigned long id, space; } key = { .space = 0xfffff };
	char label[24] = { 1 };
	union bpf_attr file = { .pathname = (unsigned long)map };
	int held = bpf(BPF_OBJ_GET, &file);
	union bpf_attr entry = { .map_fd = held, .key = (unsigned long)&key, .value = (unsigned long)label };
	char name[64], line[128];
	FILE *told;

	for (key.id = 1; (long)key.id <= count; key.id++) {
		if (bpf(BPF_MAP_UPDATE_ELEM, &entry))
			exit(1);
	}
	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", held);
	told = fopen(name, "r");
	while (told && fgets(line, sizeof(line), told)) {
		if (!strncmp(line, "memlock:", 8))
			printf("%ld\n", strtol(line + 8, NULL, 10));
	}
	for (key.id = 1; (long)key.id <= count; key.id++)
		bpf(BPF_MAP_DELETE_ELEM, &entry);
}

int main(int count, char **words)
{
	long number = count > 2 ? strtol(words[2], NULL, 10) : 0;

	if (number > 0 && count == 4 && !strcmp(words[1], "open"))
		opens(number, words[3]);
	else if (number > 0 && count == 3 && !strcmp(words[1], "pipe"))
		pipes(number);
	else if (number > 0 && count == 3 && !strcmp(words[1], "tcp"))
		tcp(number);
	else if (number > 0 && count == 4 && !strcmp(words[1], "vault"))
		vault(number, words[3]);
	else if (number > 0 && count == 4 && !strcmp(words[1], "labels"))
		labels(number, words[3]);
	else
		return 2;
	return 0;
}
