/*
 * `peak COMMAND...` runs a command and says on its last line how many KiB it, or the largest of its children,
 * had in memory at most. A small program has to ask: what is started by a large one counts that one's memory
 * as its own peak (getrusage(2), ru_maxrss, is kept over execve).
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct rusage usage;
	int status;

	if (argc < 2)
		return 2;
	pid_t child = fork();

	if (child == 0) {
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0)
		return 1;
	printf("%ld\n", usage.ru_maxrss);
	return 0;
}
