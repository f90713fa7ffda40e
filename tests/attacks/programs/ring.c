/* ring FROM TO: opens, reads and writes through io_uring; no system call of its own names either file. */
#include "attack.h"
#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/syscall.h>

static int ring;
static struct io_uring_params shape;
static char *submissions, *completions;
static struct io_uring_sqe *entries;

static unsigned *at(char *base, unsigned offset)
{
	return (unsigned *)(base + offset);
}

static void set_up(void)
{
	ring = must(syscall(SYS_io_uring_setup, 4, &shape), "io_uring_setup");
	submissions = mapped(mmap(NULL, shape.sq_off.array + shape.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
				  MAP_SHARED, ring, IORING_OFF_SQ_RING), "mmap");
	completions = mapped(mmap(NULL, shape.cq_off.cqes + shape.cq_entries * sizeof(struct io_uring_cqe),
				  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING), "mmap");
	entries = mapped(mmap(NULL, shape.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
			      IORING_OFF_SQES), "mmap");
}

/* One operation at a time: what it gave, as a system call would. */
static long ask(struct io_uring_sqe wish, const char *what)
{
	unsigned tail = *at(submissions, shape.sq_off.tail), slot = tail & *at(submissions, shape.sq_off.ring_mask);
	unsigned head;
	struct io_uring_cqe *answers = (struct io_uring_cqe *)(completions + shape.cq_off.cqes);

	entries[slot] = wish;
	at(submissions, shape.sq_off.array)[slot] = slot;
	__atomic_store_n(at(submissions, shape.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	must(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
	head = *at(completions, shape.cq_off.head);
	long result = answers[head & *at(completions, shape.cq_off.ring_mask)].res;
	__atomic_store_n(at(completions, shape.cq_off.head), head + 1, __ATOMIC_RELEASE);
	if (result < 0)
		errno = -result;
	return must(result, what);
}

static int opened(const char *path, int flags)
{
	return ask((struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)path,
					  .len = 0644, .open_flags = flags }, path);
}

int main(int count, char **arguments)
{
	static char buffer[1 << 16];
	long got;

	if (count != 3)
		return 2;
	set_up();
	int from = opened(arguments[1], O_RDONLY), to = opened(arguments[2], O_WRONLY | O_CREAT | O_TRUNC);
	for (uint64_t offset = 0;; offset += got) {
		got = ask((struct io_uring_sqe){ .opcode = IORING_OP_READ, .fd = from, .off = offset,
						 .addr = (uintptr_t)buffer, .len = sizeof(buffer) }, "read");
		if (!got)
			return 0;
		ask((struct io_uring_sqe){ .opcode = IORING_OP_WRITE, .fd = to, .off = offset,
					   .addr = (uintptr_t)buffer, .len = got }, "write");
	}
}
