/*
 * relay WAY: moves what comes by standard input to standard output through calls that no security hook is asked
 * about, or that reads without read(2).
 */
#include "ring.h"
#include <sys/uio.h>

#define ROOM (1 << 16)

static void by_hand(void)
{
	static char buffer[ROOM];
	ssize_t got;

	while ((got = must(read(STDIN_FILENO, buffer, sizeof(buffer)), "read")) > 0)
		must(write(STDOUT_FILENO, buffer, got), "write");
}

/* Where splice is not to be had, splice(2) says EINVAL, and every program goes on by hand. */
static void until_empty(long (*move)(void))
{
	long moved;

	while ((moved = move()) > 0)
		;
	if (moved < 0 && errno == EINVAL)
		by_hand();
	else
		must(moved, "splice");
}

static long splice_once(void)
{
	return splice(STDIN_FILENO, NULL, STDOUT_FILENO, NULL, ROOM, 0);
}

static void by_splice(char **arguments)
{
	(void)arguments;
	until_empty(splice_once);
}

/* What tee has not taken out of the pipe stays there: one pipe full is enough. */
static void by_tee(char **arguments)
{
	(void)arguments;
	must(tee(STDIN_FILENO, STDOUT_FILENO, ROOM, 0), "tee");
}

static void by_vmsplice(char **arguments)
{
	static char buffer[ROOM];
	struct iovec part = { buffer, sizeof(buffer) };
	ssize_t got;

	(void)arguments;
	while ((got = must(vmsplice(STDIN_FILENO, &part, 1, 0), "vmsplice")) > 0)
		must(write(STDOUT_FILENO, buffer, got), "write");
}

static void by_ring(unsigned char operation, unsigned flags)
{
	struct io_uring_sqe wish = { .opcode = operation, .fd = STDOUT_FILENO, .splice_fd_in = STDIN_FILENO, .len = ROOM,
				     .splice_flags = flags };
	long moved;

	if (operation == IORING_OP_SPLICE)
		wish.off = wish.splice_off_in = -1;
	while ((moved = ask(wish)) > 0 && operation == IORING_OP_SPLICE)
		;
	if (moved == -EINVAL)
		by_hand();
}

static void by_ring_splice(char **arguments)
{
	(void)arguments;
	set_up();
	by_ring(IORING_OP_SPLICE, 0);
}

static void by_ring_tee(char **arguments)
{
	(void)arguments;
	set_up();
	by_ring(IORING_OP_TEE, 0);
}

/* The pipe is named by its number among files that the ring keeps. */
static void by_ring_file(char **arguments)
{
	int pipe = STDIN_FILENO;

	(void)arguments;
	set_up();
	must(syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &pipe, 1), "io_uring_register");
	by_ring(IORING_OP_SPLICE, SPLICE_F_FD_IN_FIXED);
}

/* A call of the kernel's by the numbers and registers of 32-bit programs; an argument is no address. */
static long call_32(long number, long first, long second, long third, long fourth, long fifth)
{
	register long sixth asm("r12") = 0;
	long result = number;

	asm volatile("xchg %%r12, %%rbp\n\tint $0x80\n\txchg %%r12, %%rbp"
		     : "+a"(result), "+r"(sixth)
		     : "b"(first), "c"(second), "d"(third), "S"(fourth), "D"(fifth)
		     : "r8", "r9", "r10", "r11", "memory");
	result = (int)result;
	if (result < 0)
		errno = -result;
	return result < 0 ? -1 : result;
}

static long splice_once_32(void)
{
	return call_32(313, STDIN_FILENO, 0, STDOUT_FILENO, 0, ROOM);
}

static void by_splice_32(char **arguments)
{
	(void)arguments;
	until_empty(splice_once_32);
}

static void by_tee_32(char **arguments)
{
	(void)arguments;
	must(call_32(315, STDIN_FILENO, STDOUT_FILENO, ROOM, 0, 0), "tee");
}

int main(int count, char **arguments)
{
	static const struct way ways[] = {
		{ "splice", by_splice }, { "tee", by_tee }, { "vmsplice", by_vmsplice }, { "ring-splice", by_ring_splice },
		{ "ring-tee", by_ring_tee }, { "ring-file", by_ring_file }, { "splice-32", by_splice_32 }, { "tee-32", by_tee_32 },
		{ NULL, NULL },
	};

	(void)count;
	return go(ways, arguments);
}
