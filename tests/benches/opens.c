/*
 * Opens files, and prints what that took.
 *
 *   opens warm COUNT FILE     opens and closes FILE so often: microseconds each
 *   opens touch COUNT DIR     opens and closes DIR/0, DIR/1 ... once each: microseconds each
 *   opens create COUNT DIR    makes DIR/0, DIR/1 ..., writes 4 KiB to each: microseconds each
 *   opens copy FILE TARGET    opens FILE to read it, then TARGET to write it: the time at which the second
 *                             open came back, in microseconds since 1970, and its errno
 *
 * A refused open counts like any other.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double microseconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static void warm(long count, const char *file)
{
	for (long done = 0; done < count; done++) {
		int fd = open(file, O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			close(fd);
	}
}

static void touch(long count, const char *dir)
{
	char path[4096];

	for (long done = 0; done < count; done++) {
		snprintf(path, sizeof(path), "%s/%ld", dir, done);
		warm(1, path);
	}
}

static int create(long count, const char *dir)
{
	static const char block[4096] = "not a picture";
	char path[4096];

	for (long done = 0; done < count; done++) {
		snprintf(path, sizeof(path), "%s/%ld", dir, done);
		int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

		if (fd < 0 || write(fd, block, sizeof(block)) != sizeof(block) || close(fd) != 0) {
			perror(path);
			return 1;
		}
	}
	return 0;
}

static int copy(const char *file, const char *target)
{
	int from = open(file, O_RDONLY | O_CLOEXEC);

	if (from < 0) {
		perror(file);
		return 1;
	}
	int to = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int error = to < 0 ? errno : 0;

	printf("%.0f %d\n", microseconds(CLOCK_REALTIME), error);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fputs("usage: opens warm|touch|create COUNT PATH, or opens copy FILE TARGET\n", stderr);
		return 2;
	}
	if (strcmp(argv[1], "copy") == 0)
		return copy(argv[2], argv[3]);

	long count = strtol(argv[2], NULL, 10);
	double began = microseconds(CLOCK_MONOTONIC);

	if (strcmp(argv[1], "warm") == 0)
		warm(count, argv[3]);
	else if (strcmp(argv[1], "touch") == 0)
		touch(count, argv[3]);
	else if (create(count, argv[3]) != 0)
		return 1;
	printf("%.3f\n", (microseconds(CLOCK_MONOTONIC) - began) / count);
	return 0;
}
