/*
 * The least that a fanotify permission listener can do: `responder PATH SECONDS` marks the file system of PATH,
 * says "ready", and allows every open until the time is over. What a guard costs is measured beside it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("usage: responder PATH SECONDS\n", stderr);
		return 2;
	}
	int group = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_UNLIMITED_QUEUE, O_RDONLY | O_LARGEFILE | O_CLOEXEC);

	if (group < 0 || fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, AT_FDCWD, argv[1]) != 0) {
		perror("fanotify");
		return 3;
	}
	/* The kernel frees whoever waits when this process ends. */
	alarm(strtoul(argv[2], NULL, 10));
	puts("ready");
	fflush(stdout);

	static struct fanotify_event_metadata events[2048];

	for (;;) {
		ssize_t length = read(group, events, sizeof(events));

		if (length < 0) {
			perror("read");
			return 1;
		}
		for (struct fanotify_event_metadata *event = events; FAN_EVENT_OK(event, length);
		     event = FAN_EVENT_NEXT(event, length)) {
			struct fanotify_response answer = {.fd = event->fd, .response = FAN_ALLOW};

			if (event->fd < 0)
				continue;
			if (write(group, &answer, sizeof(answer)) != sizeof(answer))
				perror("answer");
			close(event->fd);
		}
	}
}
