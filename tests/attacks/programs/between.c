/* between FROM TO: one process reads FROM into memory of an io_uring that another holds, too; that one writes TO. */
#include "ring.h"
#include <sys/wait.h>

int main(int count, char **arguments)
{
	if (count != 3)
		return 2;
	alarm(15);
	set_up();
	size_t room = shape.sq_entries * sizeof(*entries);
	pid_t child = must(fork(), "fork");

	if (child) {
		must(read(must(open(arguments[1], O_RDONLY), arguments[1]), entries, room), "read");
		waitpid(child, NULL, 0);
		return 0;
	}
	for (int look = 0; look < 50 && !*(volatile char *)entries; look++)
		usleep(100000);
	spill(arguments[2], (char *)entries, room);
	return 0;
}
