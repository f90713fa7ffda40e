/* io_uring(7) without a library: one operation at a time. */
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

/* What one operation gave, or the negative of its error. */
static inline long ask(struct io_uring_sqe wish)
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
	return result;
}
