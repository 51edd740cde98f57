// SPDX-License-Identifier: GPL-2.0
/*
 * What mapping and unmapping promise: no page is unpinned while the device can
 * reach it, nothing stays pinned that is not mapped, whatever fails leaves
 * everything as it was, and says why.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

#define PAGE	4096UL
#define MIB	0x100000UL

#define IOVA	BIT_ULL(32)
#define BULK	(4 * MIB)
#define BULK_PAGES ((long)(BULK / PAGE))

/* Memory of which each 2 MiB are one folio */
#define FOLIO	HUGE_SIZE
#define FOLIO_PAGES ((long)(FOLIO / PAGE))
#define FOLIOS	(4 * FOLIO)

/* Of vhost: max_iotlb_entries by default */
#define VHOST_ENTRIES	2048

/* Ranges that a simulator with a small table holds */
#define ENTRIES	16

FIXTURE(map)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	char *mem;		/* BULK bytes */
	long pins;
};

FIXTURE_VARIANT(map)
{
	struct vdpa_parent parent;
};

FIXTURE_VARIANT_ADD(map, set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(map, dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_VARIANT_ADD(map, mlx5)
{
	.parent = MLX5_NET,
};

/* The parent's table is small, so that it can be made to fail */
FIXTURE(small)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	char *mem;
	long pins;
};

FIXTURE_VARIANT(small)
{
	struct vdpa_parent parent;
};

FIXTURE_VARIANT_ADD(small, set_map)
{
	.parent = SIM_NET(true, .entries = ENTRIES),
};

FIXTURE_VARIANT_ADD(small, dma_map)
{
	.parent = SIM_NET(false, .entries = ENTRIES),
};

/* Guest memory as a VMM has it: a file in memory, in large folios */
FIXTURE(folios)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	struct reach r;
	char *mem;		/* FOLIOS bytes, aligned */
	int fd;
	long pins;
};

FIXTURE_VARIANT(folios)
{
	struct vdpa_parent parent;
	bool hugetlb;
};

FIXTURE_VARIANT_ADD(folios, memfd_set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(folios, memfd_dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_VARIANT_ADD(folios, hugetlb_set_map)
{
	.parent = SIM_NET(true),
	.hugetlb = true,
};

FIXTURE_VARIANT_ADD(folios, hugetlb_dma_map)
{
	.parent = SIM_NET(false),
	.hugetlb = true,
};

static int open_client(struct vdpa_client *c, const struct vdpa_dev *dev)
{
	int r = client_open(c, dev, 0);

	return r ?: client_ack(c, F_BASIC | (c->features & F_PERSIST));
}

static int limit_memlock(rlim_t pages)
{
	struct rlimit limit = { .rlim_max = RLIM_INFINITY };

	limit.rlim_cur = pages == RLIM_INFINITY ? pages : pages * PAGE;

	return setrlimit(RLIMIT_MEMLOCK, &limit) ? -errno : 0;
}

#define SETUP(_mem)							\
do {									\
	const char *why;						\
	int r;								\
									\
	self->c.fd = -1;						\
	if (limit_memlock(RLIM_INFINITY))				\
		SKIP(return, "can't raise RLIMIT_MEMLOCK: not root");	\
	r = vdpa_dev_get(&self->dev, &variant->parent, &why);		\
	if (!r && !self->dev.created && variant->parent.entries)	\
		SKIP(return, "can't limit the device that -d names");	\
	SKIP_IF_MISSING(r, why);					\
	self->pins = pins_in_system();					\
	self->mem = (_mem);						\
	r = self->mem ? open_client(&self->c, &self->dev) : -ENOMEM;	\
	if (r)								\
		vdpa_dev_put(&self->dev);				\
	ASSERT_EQ(0, r);						\
} while (0)

#define TEARDOWN()							\
do {									\
	client_close(&self->c);						\
	EXPECT_EQ(self->pins, pins_in_system());			\
	vdpa_dev_put(&self->dev);					\
	EXPECT_NO_VIOLATIONS();						\
} while (0)

FIXTURE_SETUP(map)
{
	SETUP(shuffled_alloc(BULK));
}

FIXTURE_TEARDOWN(map)
{
	TEARDOWN();
}

FIXTURE_SETUP(small)
{
	SETUP(shuffled_alloc(BULK));
}

FIXTURE_TEARDOWN(small)
{
	TEARDOWN();
}

static char *folios_alloc(bool hugetlb, int *fd)
{
	char *mem;

	*fd = huge_file(FOLIOS, hugetlb);
	mem = *fd < 0 ? NULL : huge_map(*fd, FOLIOS, MAP_SHARED, 0);
	if (mem)
		reach_fill((uint8_t *)mem, FOLIOS);

	return mem && is_huge(mem, FOLIOS) ? mem : NULL;
}

FIXTURE_SETUP(folios)
{
	char *mem = folios_alloc(variant->hugetlb, &self->fd);

	if (!mem)
		SKIP(return, "there are no huge pages");
	SETUP(mem);
}

FIXTURE_TEARDOWN(folios)
{
	TEARDOWN();
	reach_exit(&self->r);
}

/* What is charged is what is pinned */
#define EXPECT_PINS(_n)							\
do {									\
	long _pins = (_n);						\
									\
	EXPECT_EQ(_pins, pins_of_process());				\
	EXPECT_EQ(self->pins + _pins, pins_in_system());		\
} while (0)

/* Until a batch ends, a parent with .set_map doesn't know */
TEST_F(map, batch_keeps_pages_until_its_end)
{
	MAP_AND_START();
	ASSERT_EQ(0, map_at(IOVA, self->mem, BULK));
	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, unmap_at(0, 0));
	if (!variant->parent.batch) {
		EXPECT_NO_IO();
	} else {
		EXPECT_PINS(1 + BULK_PAGES);
		EXPECT_IO();
	}
	ASSERT_EQ(0, batch_end());
	EXPECT_PINS(0);
	EXPECT_NO_IO();
}

TEST_F(map, batch_can_replace_a_mapping)
{
	int i;

	MAP_AND_START();
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, batch_begin());
		ASSERT_EQ(0, client_unmap(&self->c));
		ASSERT_EQ(0, client_map(&self->c));
		ASSERT_EQ(0, batch_end());
		EXPECT_PINS(1);
		EXPECT_IO();
	}
}

/* What came and went in one batch is released at once */
TEST_F(map, batch_forgets_what_it_adds_and_removes)
{
	MAP_AND_START();
	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, map_at(IOVA, self->mem, BULK));
	EXPECT_PINS(1 + BULK_PAGES);
	ASSERT_EQ(0, unmap_at(IOVA, BULK));
	EXPECT_PINS(1);
	ASSERT_EQ(0, batch_end());
	EXPECT_IO();
}

TEST_F(map, batch_outlives_a_reset)
{
	if (!(self->c.features & F_PERSIST))
		SKIP(return, "the parent does not offer IOTLB_PERSIST");
	MAP_AND_START();
	ASSERT_EQ(0, map_at(IOVA, self->mem, BULK));
	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, unmap_at(IOVA, BULK));
	ASSERT_EQ(0, client_reset(&self->c));
	ASSERT_EQ(0, client_start(&self->c));
	EXPECT_IO();
	ASSERT_EQ(0, batch_end());
	EXPECT_PINS(1);
	EXPECT_IO();
}

TEST_F(map, batch_is_of_one_address_space)
{
	ASSERT_EQ(0, client_map(&self->c));
	ASSERT_EQ(0, client_map_at(&self->c, 1, IOVA, self->mem, PAGE));
	ASSERT_EQ(0, batch_begin());
	EXPECT_EQ(-EINVAL, client_batch(&self->c, 1, true));
	EXPECT_EQ(-EINVAL, client_unmap_at(&self->c, 1, IOVA, PAGE));
	EXPECT_EQ(-EINVAL, client_batch(&self->c, 1, false));
	ASSERT_EQ(0, batch_end());
	EXPECT_EQ(0, client_unmap_at(&self->c, 1, IOVA, PAGE));
	EXPECT_PINS(1);
}

TEST_F(map, close_in_a_batch_leaves_no_pins)
{
	MAP_AND_START();
	ASSERT_EQ(0, map_at(IOVA, self->mem, BULK / 2));
	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, unmap_at(IOVA, BULK / 4));
	ASSERT_EQ(0, map_at(2 * IOVA, self->mem, BULK));
	client_close(&self->c);
	EXPECT_PINS(0);

	/* Nor is the next client in that batch */
	ASSERT_EQ(0, open_client(&self->c, &self->dev));
	MAP_AND_START();
	ASSERT_EQ(0, client_unmap(&self->c));
	EXPECT_NO_IO();
}

/* A batch that is more than the parent can take */
#define OVERFILL()							\
	ASSERT_EQ(0, map_at(IOVA, self->mem, 4 * ENTRIES * PAGE))

TEST_F(small, failed_batch_changes_nothing)
{
	if (!variant->parent.batch)
		SKIP(return, "not for this parent: it is told at once");

	MAP_AND_START();
	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, client_unmap(&self->c));
	OVERFILL();
	EXPECT_EQ(-ENOSPC, batch_end());
	EXPECT_IO();
	EXPECT_PINS(1);
	EXPECT_EQ(-EEXIST, client_map(&self->c));
}

TEST_F(small, failed_batch_can_be_done_again)
{
	if (!variant->parent.batch)
		SKIP(return, "not for this parent: it is told at once");

	MAP_AND_START();
	ASSERT_EQ(0, batch_begin());
	OVERFILL();
	EXPECT_EQ(-ENOSPC, batch_end());

	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, map_at(IOVA, self->mem, ENTRIES / 2 * PAGE));
	ASSERT_EQ(0, batch_end());
	EXPECT_IO();
	EXPECT_PINS(1 + ENTRIES / 2);
}

TEST_F(small, failed_update_changes_nothing)
{
	MAP_AND_START();
	EXPECT_EQ(-ENOSPC, map_at(IOVA, self->mem, 4 * ENTRIES * PAGE));
	EXPECT_IO();
	EXPECT_PINS(1);
	EXPECT_EQ(0, map_at(IOVA, self->mem, PAGE));
}

TEST_F(small, table_takes_as_many_as_it_may)
{
	int i;

	for (i = 0; i < ENTRIES; i++)
		ASSERT_EQ(0, map_at(IOVA + 2 * i * PAGE, self->mem + i * PAGE,
				    PAGE));
	EXPECT_EQ(-ENOSPC, map_at(IOVA + 2 * i * PAGE, self->mem + i * PAGE,
				  PAGE));
	EXPECT_PINS(ENTRIES);
}

/* The address space ends before the update does */
TEST_F(map, failed_updates_leave_no_pins)
{
	int i;

	ASSERT_EQ(0, munmap(self->mem + BULK - PAGE, PAGE));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-EFAULT, map_at(IOVA, self->mem, BULK));
		EXPECT_PINS(0);
	}
	EXPECT_EQ(0, map_at(IOVA, self->mem, BULK - PAGE));
}

TEST_F(map, failed_updates_in_a_batch_leave_the_rest_of_it)
{
	ASSERT_EQ(0, munmap(self->mem + BULK - PAGE, PAGE));
	MAP_AND_START();
	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, map_at(2 * IOVA, self->mem, MIB));
	EXPECT_EQ(-EFAULT, map_at(IOVA, self->mem, BULK));
	ASSERT_EQ(0, batch_end());
	EXPECT_PINS(1 + MIB / PAGE);
	EXPECT_IO();
}

/* As many ranges as pages, whatever the client can do about it */
TEST_F(map, maps_64m_of_shuffled_pages)
{
	const unsigned long size = 64 * MIB;
	char *mem = shuffled_alloc(size);

	ASSERT_NE(NULL, mem);
	MAP_AND_START();
	ASSERT_EQ(0, map_at(IOVA, mem, size));
	EXPECT_PINS(1 + size / PAGE);
	ASSERT_EQ(0, client_reset(&self->c));
	ASSERT_EQ(0, client_start(&self->c));
	if (self->c.features & F_PERSIST)
		EXPECT_IO();
	ASSERT_EQ(0, unmap_at(IOVA, size));
	EXPECT_PINS(1);
	EXPECT_IO();
	munmap(mem, size);
}

/* What takes a while to map: few pages that are there already, over and over */
#define LONG	((vdpa_given.quick ? 512 : 2048) * MIB)

static void map_long(const struct vdpa_dev *dev)
{
	const unsigned long part = 64 * MIB;
	int fd = memfd_create("map_path", MFD_CLOEXEC);
	struct vdpa_client c;
	unsigned long i;
	char *mem;

	mem = mmap(NULL, LONG, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED || ftruncate(fd, part))
		return;
	for (i = 0; i < LONG; i += part)
		if (mmap(mem + i, part, PROT_READ | PROT_WRITE, MAP_SHARED |
			 MAP_FIXED | MAP_POPULATE, fd, 0) == MAP_FAILED)
			return;
	if (!open_client(&c, dev))
		client_map_at(&c, 0, IOVA, mem, LONG);
}

/* Has it mapped less than half? */
static bool stops_when_killed(const struct vdpa_dev *dev)
{
	long before = pins_ever();
	pid_t pid = fork(), ended;

	if (!pid) {
		map_long(dev);
		_exit(1);
	}
	if (pid < 0)
		return false;
	do {
		ended = waitpid(pid, NULL, WNOHANG);
	} while (!ended && pins_ever() < before + BULK_PAGES);
	if (ended || kill(pid, SIGKILL) || waitpid(pid, NULL, 0) != pid)
		return false;

	return pins_ever() < before + (long)(LONG / PAGE / 2);
}

/* On a busy machine who kills it may be late, but hardly each time */
TEST_F(map, client_that_is_killed_stops_mapping)
{
	bool stops = false;
	int i;

	client_close(&self->c);
	for (i = 0; i < 3 && !stops; i++)
		stops = stops_when_killed(&self->dev);
	EXPECT_TRUE(stops);
}

static void on_signal(int sig)
{
}

TEST_F(map, other_signals_do_not_disturb)
{
	const struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = {};
	int i;

	signal(SIGALRM, on_signal);
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &often, NULL));
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(0, map_at(IOVA, self->mem, BULK));
		EXPECT_PINS(BULK_PAGES);
		EXPECT_EQ(0, unmap_at(IOVA, BULK));
	}
	EXPECT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
}

TEST_F(map, memlock_limit_is_exact)
{
	ASSERT_EQ(0, limit_memlock(101));
	ASSERT_EQ(0, client_map(&self->c));
	EXPECT_EQ(-ENOMEM, map_at(IOVA, self->mem, 101 * PAGE));
	EXPECT_PINS(1);
	ASSERT_EQ(0, map_at(IOVA, self->mem, 100 * PAGE));
	EXPECT_EQ(-ENOMEM, map_at(2 * IOVA, self->mem, PAGE));
	ASSERT_EQ(0, unmap_at(IOVA, 100 * PAGE));
	EXPECT_EQ(0, map_at(2 * IOVA, self->mem, 100 * PAGE));
	EXPECT_PINS(101);
}

/* Somebody who maps as soon as somebody else does */
struct racer {
	struct vdpa_client *c;
	pthread_barrier_t *go;
	void *mem;
	uint64_t size;
	int result;
};

static void *race(void *arg)
{
	struct racer *r = arg;

	pthread_barrier_wait(r->go);
	r->result = client_map_at(r->c, 0, IOVA, r->mem, r->size);

	return NULL;
}

/* With a device for each, and room for one of them */
static void race_each_other(struct racer *a, struct racer *b)
{
	pthread_barrier_t go;
	pthread_t thread;

	pthread_barrier_init(&go, NULL, 2);
	a->go = &go;
	b->go = &go;
	if (pthread_create(&thread, NULL, race, a))
		return;
	race(b);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&go);
}

TEST_F(map, memlock_limit_is_that_of_all_devices)
{
	const uint64_t size = BULK / 2 + PAGE;
	struct vdpa_client second;
	struct vdpa_dev dev;
	struct racer a = { .c = &self->c, .mem = self->mem, .size = size };
	struct racer b = { .c = &second, .mem = self->mem, .size = size };
	bool one_has_it = true;
	int i, r;

	r = vdpa_dev_get_second(&dev, &variant->parent);
	if (r == -ENODEV || r == -ENOSPC)
		SKIP(return, "not for this parent: it has no second device");
	ASSERT_EQ(0, r);
	ASSERT_EQ(0, open_client(&second, &dev));
	ASSERT_EQ(0, limit_memlock(BULK_PAGES));

	for (i = 0; i < 100 && one_has_it; i++) {
		race_each_other(&a, &b);
		one_has_it = a.result + b.result == -ENOMEM;
		client_unmap_at(a.c, 0, IOVA, size);
		client_unmap_at(b.c, 0, IOVA, size);
		EXPECT_PINS(0);
	}
	EXPECT_TRUE(one_has_it) {
		TH_LOG("round %d: %d and %d", i, a.result, b.result);
	}

	client_close(&second);
	vdpa_dev_put(&dev);
}

/* What is removed stays pinned until the end: not at the client's expense */
TEST_F(map, batch_can_replace_all_at_the_limit)
{
	ASSERT_EQ(0, limit_memlock(101));
	MAP_AND_START();
	ASSERT_EQ(0, map_at(IOVA, self->mem, 100 * PAGE));
	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, unmap_at(0, 0));
	ASSERT_EQ(0, client_map(&self->c));
	ASSERT_EQ(0, map_at(2 * IOVA, self->mem + MIB, 100 * PAGE));
	ASSERT_EQ(0, batch_end());
	EXPECT_PINS(101);
	EXPECT_IO();
}

#define EXPECT_DIRTY(_dirty)						\
do {									\
	uint64_t _pa = phys_addr(self->mem);				\
									\
	if (!_pa || phys_dirty(_pa) < 0)				\
		SKIP(return, "can't tell what is dirty: not root");	\
	EXPECT_EQ(_dirty, phys_dirty(_pa));				\
} while (0)

TEST_F(map, written_pages_are_dirty)
{
	EXPECT_DIRTY(false);
	ASSERT_EQ(0, map_at(IOVA, self->mem, BULK));
	ASSERT_EQ(0, unmap_at(IOVA, BULK));
	EXPECT_DIRTY(true);
}

TEST_F(map, read_only_pages_are_not_dirty)
{
	EXPECT_DIRTY(false);
	ASSERT_EQ(0, client_map_perm(&self->c, 0, IOVA, self->mem, BULK,
				     VHOST_ACCESS_RO));
	EXPECT_PINS(BULK_PAGES);
	ASSERT_EQ(0, unmap_at(IOVA, BULK));
	EXPECT_DIRTY(false);
}

/* Messages that cannot be, and what is said about them */

TEST_F(map, overlap_is_eexist)
{
	ASSERT_EQ(0, map_at(IOVA, self->mem, BULK / 2));
	EXPECT_EQ(-EEXIST, map_at(IOVA + BULK / 4, self->mem, BULK));
	EXPECT_EQ(-EEXIST, map_at(IOVA - PAGE, self->mem, 2 * PAGE));
	EXPECT_PINS(BULK_PAGES / 2);
}

TEST_F(map, bad_address_is_efault)
{
	ASSERT_EQ(0, munmap(self->mem + PAGE, PAGE));
	EXPECT_EQ(-EFAULT, map_at(IOVA, self->mem, BULK));
	EXPECT_EQ(-EFAULT, map_at(IOVA, (void *)-PAGE, PAGE));
	EXPECT_PINS(0);
}

TEST_F(map, bad_range_is_einval)
{
	EXPECT_EQ(-EINVAL, map_at(IOVA, self->mem, 0));
	EXPECT_EQ(-EINVAL, map_at(-PAGE, self->mem, 2 * PAGE));
	EXPECT_EQ(-EINVAL, client_map_at(&self->c, 2, IOVA, self->mem, PAGE));
	EXPECT_PINS(0);
}

/* Whole pages of that size are more than can be counted: none, if nobody looks */
TEST_F(map, all_addresses_are_too_many)
{
	uint64_t pa = phys_addr(self->c.page);

	if (!pa)
		SKIP(return, "can't tell where memory is: not root");
	EXPECT_EQ(-EINVAL, map_at(0, self->mem, -1));
	EXPECT_EQ(-EINVAL, map_at(0, self->mem, -PAGE + 1));
	EXPECT_PINS(0);
	/* Where its page is in memory, if all of that is mapped */
	self->c.iova = pa;
	START();
	EXPECT_NO_IO();
}

TEST_F(map, somebody_else_is_eperm)
{
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(-map_at(IOVA, self->mem, PAGE));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(EPERM, WEXITSTATUS(status));
	EXPECT_PINS(0);
}

TEST_F(map, update_needs_a_permission)
{
	EXPECT_EQ(-EINVAL, client_map_perm(&self->c, 0, IOVA, self->mem, PAGE,
					   0));
	EXPECT_EQ(-EINVAL, client_map_perm(&self->c, 0, IOVA, self->mem, PAGE,
					   VHOST_ACCESS_RW + 1));
	EXPECT_PINS(0);
}

TEST_F(map, halves_of_a_page_overlap)
{
	ASSERT_EQ(0, map_at(IOVA, self->mem, PAGE / 2));
	EXPECT_EQ(-EEXIST, map_at(IOVA + PAGE / 2, self->mem + PAGE / 2,
				  PAGE / 2));
	EXPECT_PINS(1);
	ASSERT_EQ(0, unmap_at(IOVA, PAGE / 2));
	EXPECT_PINS(0);
}

TEST_F(map, offsets_in_the_page_must_agree)
{
	EXPECT_EQ(-EINVAL, map_at(IOVA + PAGE / 2, self->mem, PAGE));
	EXPECT_PINS(0);
	ASSERT_EQ(0, map_at(IOVA + PAGE / 2, self->mem + PAGE / 2, PAGE));
	EXPECT_PINS(2);
}

TEST_F(map, invalidate_of_nothing_is_refused)
{
	MAP_AND_START();
	EXPECT_EQ(-EINVAL, unmap_at(self->c.iova + PAGE / 2, 0));
	EXPECT_IO();
	EXPECT_PINS(1);
}

TEST_F(map, invalidate_beyond_the_end_is_refused)
{
	MAP_AND_START();
	EXPECT_EQ(-EINVAL, unmap_at(self->c.iova, -PAGE));
	EXPECT_PINS(1);
}

TEST_F(map, invalidate_of_0_at_0_is_of_everything)
{
	ASSERT_EQ(0, map_at(-PAGE, self->mem, PAGE));
	EXPECT_EQ(0, unmap_at(0, 0));
	EXPECT_PINS(0);

	MAP_AND_START();
	EXPECT_EQ(0, unmap_at(0, 0));
	EXPECT_PINS(0);
	EXPECT_NO_IO();
}

/* It takes away what is contiguous as a whole; how much that is can't be said */
TEST_F(map, invalidate_of_a_part_loses_no_pin)
{
	long pins;

	ASSERT_EQ(0, map_at(IOVA, self->mem, BULK));
	ASSERT_EQ(0, unmap_at(IOVA + BULK / 4, BULK / 2));
	pins = pins_of_process();
	EXPECT_GE(BULK_PAGES / 2, pins);
	EXPECT_PINS(pins);
	ASSERT_EQ(0, unmap_at(IOVA, BULK));
	EXPECT_PINS(0);
}

/* Memory that was never written to is the zero page, which nobody pins */
TEST_F(map, zero_page_is_no_page_that_lost_its_pin)
{
	void *mem = mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, client_map_perm(&self->c, 0, IOVA, mem, 4 * PAGE,
				     VHOST_ACCESS_RO));
	EXPECT_EQ(4, pins_of_process());
	/* The simulator, which looks at what it unmaps, would warn */
	EXPECT_EQ(0, unmap_at(IOVA, 4 * PAGE));
	munmap(mem, 4 * PAGE);
}

/* What takes the place of something is not charged on top of it ... */
TEST_F(map, batch_at_the_limit_takes_effect_at_its_end)
{
	ASSERT_EQ(0, limit_memlock(101));
	MAP_AND_START();
	ASSERT_EQ(0, map_at(IOVA, self->mem, 100 * PAGE));
	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, unmap_at(0, 0));
	ASSERT_EQ(0, map_at(2 * IOVA, self->mem + MIB, 101 * PAGE));
	EXPECT_EQ(101, pins_of_process());
	/* A parent with .set_map has the old ones until then */
	if (variant->parent.batch)
		EXPECT_IO();
	EXPECT_EQ(-ENOMEM, map_at(3 * IOVA, self->mem, PAGE));
	ASSERT_EQ(0, batch_end());
	EXPECT_PINS(101);
	EXPECT_NO_IO();
}

/* ... and what comes and goes in between changes nothing about that */
TEST_F(map, batch_is_charged_for_what_it_changes)
{
	ASSERT_EQ(0, map_at(IOVA, self->mem, 100 * PAGE));
	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, map_at(2 * IOVA, self->mem, 50 * PAGE));
	EXPECT_EQ(150, pins_of_process());
	ASSERT_EQ(0, unmap_at(2 * IOVA, 50 * PAGE));
	EXPECT_EQ(100, pins_of_process());
	ASSERT_EQ(0, unmap_at(IOVA, 100 * PAGE));
	ASSERT_EQ(0, map_at(2 * IOVA, self->mem, 10 * PAGE));
	ASSERT_EQ(0, batch_end());
	EXPECT_PINS(10);
}

/* Somebody who asks for more than there is, all the time */
struct greedy {
	struct vdpa_client *c;
	void *mem;
	bool stop;
	int result;		/* the last one that is not the expected */
};

static void *be_greedy(void *arg)
{
	struct greedy *g = arg;
	int r;

	while (!__atomic_load_n(&g->stop, __ATOMIC_RELAXED)) {
		r = client_map_at(g->c, 0, IOVA, g->mem, BULK);
		if (r != -ENOMEM)
			g->result = r;
	}

	return NULL;
}

TEST_F(map, charge_that_fails_is_in_nobodys_way)
{
	struct greedy g = { .mem = self->mem, .result = -ENOMEM };
	struct vdpa_client second;
	struct vdpa_dev dev;
	pthread_t thread;
	int i, r;

	r = vdpa_dev_get_second(&dev, &variant->parent);
	if (r == -ENODEV || r == -ENOSPC)
		SKIP(return, "not for this parent: it has no second device");
	ASSERT_EQ(0, r);
	ASSERT_EQ(0, open_client(&second, &dev));
	ASSERT_EQ(0, limit_memlock(BULK_PAGES));
	ASSERT_EQ(0, map_at(2 * IOVA, self->mem, PAGE));

	g.c = &second;
	ASSERT_EQ(0, pthread_create(&thread, NULL, be_greedy, &g));
	for (i = 0, r = 0; i < 2000 && !r; i++) {
		r = map_at(IOVA, self->mem, PAGE);
		unmap_at(IOVA, PAGE);
	}
	__atomic_store_n(&g.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, r) {
		TH_LOG("in round %d", i);
	}
	EXPECT_EQ(-ENOMEM, g.result);

	client_close(&second);
	vdpa_dev_put(&dev);
}

/* Nobody has told the device of what is taken back */
TEST_F(small, failed_update_leaves_pages_clean)
{
	const size_t n = 1000;	/* more than are pinned at once */

	if (!variant->parent.batch)
		SKIP(return, "not for this parent: it is told of each page");

	EXPECT_DIRTY(false);
	ASSERT_EQ(0, mprotect(self->mem + n * PAGE, PAGE, PROT_NONE));
	EXPECT_EQ(-EFAULT, map_at(IOVA, self->mem, (n + 1) * PAGE));
	EXPECT_PINS(0);
	EXPECT_DIRTY(false);
}

/* How long somebody else waits for the CPU of a thread */
struct wait {
	clockid_t of;		/* the thread's clock: it stands while others run */
	uint64_t began_ns;
	uint64_t longest_ns;
	bool stop;
};

/*
 * No time in which a host has other things to do is of interest, so no wall clock. In
 * a virtual machine this one goes on while its own host does.
 */
static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);

	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void *wait_for_cpu(void *arg)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	struct wait *w = arg;
	uint64_t now, last = w->began_ns;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		nanosleep(&nap, NULL);
		now = clock_ns(w->of);
		if (now - last > w->longest_ns)
			w->longest_ns = now - last;
		last = now;
	}

	return NULL;
}

/* Of the highest priority, and on the only CPU that the caller uses, too */
static int start_waiting(struct wait *w, pthread_t *thread)
{
	struct sched_param param = { .sched_priority = 99 };
	pthread_attr_t attr;
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu))
		return -errno;

	memset(w, 0, sizeof(*w));
	pthread_getcpuclockid(pthread_self(), &w->of);
	w->began_ns = clock_ns(w->of);
	pthread_attr_init(&attr);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &param);

	return -pthread_create(thread, &attr, wait_for_cpu, w);
}

/* The longest time, in parts of a thousand of all that it took */
static unsigned int stop_waiting(struct wait *w, pthread_t thread)
{
	uint64_t all = clock_ns(w->of) - w->began_ns;

	__atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);

	return w->longest_ns * 1000 / all;
}

/* Map it, replace it by the same elsewhere, and leave that to close() */
static int map_replace_close(struct vdpa_client *c, char *mem, size_t size)
{
	int r;

	r = client_batch(c, 0, true) ?:
	    client_map_at(c, 0, IOVA, mem, size) ?:
	    client_batch(c, 0, false) ?:
	    client_batch(c, 0, true) ?:
	    client_unmap_at(c, 0, IOVA, size) ?:
	    client_map_at(c, 0, IOVA, mem + PAGE, size - PAGE) ?:
	    client_batch(c, 0, false);
	client_close(c);

	return r;
}

/* Of a thousand parts, of which a loop over all pages takes more */
#define TOO_LONG	150U

/*
 * A part of the whole, as a busy host makes all of it longer. The best of some
 * rounds, as it may be busy at a bad moment.
 */
TEST_F_TIMEOUT(map, others_get_the_cpu_meanwhile, 300)
{
	const size_t size = (vdpa_given.quick ? 64 : 256) * MIB;
	unsigned int longest = UINT_MAX, one;
	pthread_t thread;
	struct wait w;
	char *mem;
	int round;

	vdpa_check_pins(&self->dev, false);
	mem = alias_alloc(size);
	ASSERT_NE(NULL, mem);
	for (round = 0; round < 10 && longest >= TOO_LONG; round++) {
		ASSERT_EQ(0, start_waiting(&w, &thread));
		EXPECT_EQ(0, map_replace_close(&self->c, mem, size));
		one = stop_waiting(&w, thread);
		if (one < longest)
			longest = one;
		ASSERT_EQ(0, open_client(&self->c, &self->dev));
	}
	EXPECT_GT(TOO_LONG, longest);
	munmap(mem, size);
}

/* A folio at one address after the other */
static char *folio_over_and_over(int times)
{
	int fd = huge_file(FOLIO, true), i;
	char *mem = huge_map(fd, FOLIO, MAP_SHARED, 0);

	if (!mem)
		return NULL;
	munmap(mem, FOLIO);
	mem = mmap(NULL, (times + 1) * FOLIO, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return NULL;
	mem = (char *)(((uintptr_t)mem + FOLIO - 1) & ~(FOLIO - 1));
	for (i = 0; i < times; i++)
		if (mmap(mem + i * FOLIO, FOLIO, PROT_READ | PROT_WRITE, MAP_SHARED |
			 MAP_FIXED | MAP_POPULATE, fd, 0) == MAP_FAILED)
			return NULL;
	close(fd);

	return mem;
}

/*
 * Each pin counts for up to 1024 references to the page, of less than 2^31. It takes
 * a million of them to get there, which only the whole test does.
 */
TEST_F_TIMEOUT(map, page_is_not_pinned_without_end, 900)
{
	const unsigned long size = (vdpa_given.quick ? 8 : 128) * MIB;
	const int times = vdpa_given.quick ? 2 : 40;
	int fd, i, r;
	char *mem;

	if (!variant->parent.batch || variant->parent.ops != &sim_ops)
		SKIP(return, "not for this parent: one is enough");
	fd = memfd_create("map_path", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	mem = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
		   MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < (int)(size / PAGE); i++)
		ASSERT_NE(MAP_FAILED,
			  mmap(mem + i * PAGE, PAGE, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0));

	ASSERT_EQ(0, batch_begin());
	for (i = 1, r = 0; i <= times && !r; i++)
		r = map_at(i * IOVA, mem, size);
	EXPECT_EQ(vdpa_given.quick ? 0 : -ENOMEM, r);
	ASSERT_EQ(0, unmap_at(0, 0));
	ASSERT_EQ(0, batch_end());
	EXPECT_PINS(0);
	munmap(mem, size);
}

/* The same of a folio, of which each page counts */
TEST_F_TIMEOUT(map, folio_is_not_pinned_without_end, 900)
{
	const int n = vdpa_given.quick ? 16 : 8192;
	const int times = vdpa_given.quick ? 2 : 300;
	char *mem;
	int i, r;

	if (!variant->parent.batch || variant->parent.ops != &sim_ops)
		SKIP(return, "not for this parent: one is enough");
	mem = folio_over_and_over(n);
	if (!mem)
		SKIP(return, "there are no huge pages");

	ASSERT_EQ(0, batch_begin());
	for (i = 1, r = 0; i <= times && !r; i++)
		r = map_at(i * (IOVA << 4), mem, n * FOLIO);
	EXPECT_EQ(vdpa_given.quick ? 0 : -ENOMEM, r);
	ASSERT_EQ(0, unmap_at(0, 0));
	ASSERT_EQ(0, batch_end());
	EXPECT_PINS(0);
	munmap(mem, n * FOLIO);
}

/* The table is full in the middle of an update */
TEST_F(small, failed_update_leaves_no_pin_of_a_folio)
{
	char *mem = folio_over_and_over(2 * ENTRIES);

	if (!mem)
		SKIP(return, "there are no huge pages");
	EXPECT_EQ(-ENOSPC, map_at(IOVA, mem, 2 * ENTRIES * FOLIO));
	EXPECT_PINS(0);
	EXPECT_EQ(0, map_at(IOVA, mem, ENTRIES * FOLIO));
	EXPECT_PINS(ENTRIES * FOLIO_PAGES);
	munmap(mem, 2 * ENTRIES * FOLIO);
}

TEST_F(map, written_huge_pages_are_dirty)
{
	if (vdpa_given.name[0])
		SKIP(return, "not on the host of the device that -d names, which may need them");
	/* One that was used before can be dirty still */
	write_file(HUGE_POOL "nr_hugepages", "0");
	hugetlb_provide(FOLIO);
	self->mem = mmap(NULL, FOLIO, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
	if (self->mem == MAP_FAILED)
		SKIP(return, "there are no huge pages");
	self->mem[0] = 1;
	EXPECT_DIRTY(false);
	ASSERT_EQ(0, client_map_perm(&self->c, 0, IOVA, self->mem, FOLIO,
				     VHOST_ACCESS_RO));
	ASSERT_EQ(0, unmap_at(IOVA, FOLIO));
	EXPECT_DIRTY(false);
	ASSERT_EQ(0, map_at(IOVA, self->mem, FOLIO));
	ASSERT_EQ(0, unmap_at(IOVA, FOLIO));
	EXPECT_DIRTY(true);
}

/*
 * Guest memory in large folios. A kernel may pin a folio as a whole, and must give
 * what it would if it looked at each page.
 */

#define EXPECT_REACH()							\
	EXPECT_STREQ("", reach_check(&self->r))

/* Over a border between folios that is so far in the range at @_iova */
#define EXPECT_REACH_OVER(_iova, _at)					\
	EXPECT_STREQ("", reach_probe(&self->r, (_iova) + (_at) - 32, 64))

#define MAP_FOLIOS(_iova, _from, _size, _perm)				\
	ASSERT_EQ(0, reach_map(&self->r, _iova,				\
			       (uint8_t *)self->mem + (_from), _size, _perm))

/* What is mapped is reached, over resets, of the memory as it is now */
#define LOOK_AT(_mem)							\
do {									\
	if (!(self->c.features & F_PERSIST))				\
		SKIP(return, "the parent does not offer IOTLB_PERSIST");	\
	ASSERT_EQ(0, client_map(&self->c));				\
	ASSERT_EQ(0, reach_init_at(&self->r, &self->c,			\
				   (uint8_t *)(_mem), FOLIOS));		\
} while (0)

TEST_F(folios, are_reached_in_part)
{
	const size_t before = 3 * PAGE, size = before + 2 * FOLIO + 5 * PAGE;

	LOOK_AT(self->mem);
	MAP_FOLIOS(IOVA, FOLIO - before, size, VHOST_ACCESS_RW);
	EXPECT_PINS(1 + (long)(size / PAGE));
	EXPECT_REACH();
	START();
	EXPECT_REACH_OVER(IOVA, before);
	EXPECT_REACH_OVER(IOVA, before + FOLIO / 2);
	EXPECT_REACH_OVER(IOVA, before + FOLIO);
	EXPECT_REACH_OVER(IOVA, before + 2 * FOLIO);
	ASSERT_EQ(0, client_reset(&self->c));
	ASSERT_EQ(0, reach_unmap(&self->r, IOVA, size));
	EXPECT_PINS(1);
	EXPECT_REACH();
}

/* Each has pins of its own */
TEST_F(folios, are_shared_by_mappings)
{
	LOOK_AT(self->mem);
	MAP_FOLIOS(IOVA, 0, 2 * FOLIO, VHOST_ACCESS_RW);
	MAP_FOLIOS(2 * IOVA, FOLIO + 7 * PAGE, FOLIO / 2, VHOST_ACCESS_RO);
	EXPECT_PINS(1 + 2 * FOLIO_PAGES + FOLIO_PAGES / 2);
	EXPECT_REACH();
	ASSERT_EQ(0, reach_unmap(&self->r, IOVA, 2 * FOLIO));
	EXPECT_PINS(1 + FOLIO_PAGES / 2);
	EXPECT_REACH();
}

/* Have pages of 4 KiB that are not in the file take the place of a folio */
static int become_pages(char *folio)
{
	if (mmap(folio, FOLIO, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -errno;
	madvise(folio, FOLIO, MADV_NOHUGEPAGE);
	reach_fill((uint8_t *)folio, FOLIO);

	return 0;
}

TEST_F(folios, and_pages_are_in_one_update)
{
	ASSERT_EQ(0, become_pages(self->mem + FOLIO));
	LOOK_AT(self->mem);
	MAP_FOLIOS(IOVA, PAGE, FOLIOS - PAGE, VHOST_ACCESS_RW);
	MAP_FOLIOS(2 * IOVA, 2 * FOLIO - 5 * PAGE, FOLIO, VHOST_ACCESS_RW);
	EXPECT_PINS(1 + 5 * FOLIO_PAGES - 1);
	EXPECT_REACH();
	START();
	EXPECT_REACH_OVER(IOVA, FOLIO - PAGE);
	EXPECT_REACH_OVER(IOVA, 2 * FOLIO - PAGE);
	EXPECT_REACH_OVER(IOVA, 3 * FOLIO - PAGE);
	EXPECT_REACH_OVER(2 * IOVA, 5 * PAGE);
	ASSERT_EQ(0, client_reset(&self->c));
	ASSERT_EQ(0, unmap_at(IOVA, FOLIOS - PAGE));
	EXPECT_PINS(1 + FOLIO_PAGES);
}

/* ... which ends in a folio, then in a page */
TEST_F(folios, and_pages_are_unpinned_if_an_update_fails)
{
	ASSERT_EQ(0, become_pages(self->mem + FOLIO));
	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, map_at(2 * IOVA, self->mem, 2 * FOLIO));
	ASSERT_EQ(0, mprotect(self->mem + 3 * FOLIO, FOLIO, PROT_NONE));
	EXPECT_EQ(-EFAULT, map_at(IOVA, self->mem, FOLIOS));
	EXPECT_PINS(2 * FOLIO_PAGES);
	ASSERT_EQ(0, mprotect(self->mem + 2 * FOLIO - PAGE, PAGE, PROT_NONE));
	EXPECT_EQ(-EFAULT, map_at(IOVA, self->mem, FOLIOS));
	EXPECT_PINS(2 * FOLIO_PAGES);
	ASSERT_EQ(0, batch_end());
	EXPECT_PINS(2 * FOLIO_PAGES);
	ASSERT_EQ(0, unmap_at(0, 0));
	EXPECT_PINS(0);
}

/* Whose pages can differ in that; those of hugetlb cannot, within a folio */
TEST_F(folios, end_with_their_permission)
{
	const size_t part = variant->hugetlb ? FOLIO : FOLIO / 2;
	char *end = self->mem + part;

	ASSERT_EQ(0, mprotect(end, part, PROT_READ));
	EXPECT_EQ(-EFAULT, map_at(IOVA, self->mem, part + PAGE));
	EXPECT_EQ(-EFAULT, map_at(IOVA, self->mem, 2 * part));
	EXPECT_PINS(0);
	EXPECT_EQ(0, client_map_perm(&self->c, 0, IOVA, self->mem, 2 * part,
				     VHOST_ACCESS_RO));
	EXPECT_EQ(0, map_at(2 * IOVA, self->mem, part));
	ASSERT_EQ(0, munmap(end, part));
	EXPECT_EQ(-EFAULT, client_map_perm(&self->c, 0, 3 * IOVA, self->mem,
					   part + PAGE, VHOST_ACCESS_RO));
	EXPECT_PINS(3 * (long)(part / PAGE));
}

/*
 * A folio that is pinned cannot be cut when the file is: it is longer than the file
 * then. At this address it is mapped page by page: a whole huge page can be accessed.
 */
TEST_F(folios, end_with_the_file)
{
	const size_t ends[] = { FOLIO - 5 * PAGE, FOLIO - 5 * PAGE - 100, 100 };
	char *mem;
	size_t end;
	int i;

	if (variant->hugetlb)
		SKIP(return, "not for this memory: the file ends with a folio");
	mem = huge_map(self->fd, FOLIOS, MAP_SHARED, PAGE);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, map_at(IOVA, self->mem, FOLIO));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, ftruncate(self->fd, ends[i]));
		end = (ends[i] + PAGE - 1) / PAGE * PAGE;
		EXPECT_EQ(-EFAULT, map_at(2 * IOVA, mem, end + PAGE));
		EXPECT_PINS(FOLIO_PAGES);
		EXPECT_EQ(0, map_at(2 * IOVA, mem, end));
		EXPECT_PINS(FOLIO_PAGES + (long)(end / PAGE));
		EXPECT_EQ(0, unmap_at(2 * IOVA, end));
	}
}

/* As a huge page, it goes on there, but what is behind it is not of the file */
TEST_F(folios, go_on_beyond_the_end_of_the_file)
{
	char *end = self->mem + FOLIO;

	if (variant->hugetlb)
		SKIP(return, "not for this memory: the file ends with a folio");
	ASSERT_EQ(0, map_at(IOVA, self->mem, FOLIO));
	ASSERT_EQ(0, ftruncate(self->fd, FOLIO - 5 * PAGE));
	self->mem[0] = 1;
	if (!phys_addr(end - PAGE))
		SKIP(return, "this kernel maps no more than the file has");
	EXPECT_EQ(0, map_at(2 * IOVA, self->mem, FOLIO));
	EXPECT_PINS(2 * FOLIO_PAGES);
	EXPECT_EQ(-EFAULT, map_at(3 * IOVA, end - 3 * PAGE, FOLIO));
	EXPECT_PINS(2 * FOLIO_PAGES);
}

/* After a hole was made, the file has another folio there */
TEST_F(folios, are_those_that_the_file_has)
{
	hugetlb_provide(FOLIO);
	ASSERT_EQ(0, map_at(IOVA, self->mem, 2 * FOLIO));
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       0, FOLIO));
	EXPECT_PINS(2 * FOLIO_PAGES);
	LOOK_AT(self->mem);
	MAP_FOLIOS(2 * IOVA, PAGE, 2 * FOLIO, VHOST_ACCESS_RW);
	ASSERT_EQ(0, unmap_at(IOVA, 2 * FOLIO));
	EXPECT_PINS(1 + 2 * FOLIO_PAGES);
	EXPECT_REACH();
	ASSERT_EQ(0, ftruncate(self->fd, 0));
	ASSERT_EQ(0, reach_unmap(&self->r, 2 * IOVA, 2 * FOLIO));
	EXPECT_PINS(1);
}

/* One page of it was written to, and so is not that of the file any more */
TEST_F(folios, of_a_private_mapping_are_its_own)
{
	char *file = malloc(FOLIOS), *mem;

	hugetlb_provide(FOLIOS);
	mem = huge_map(self->fd, FOLIOS, MAP_PRIVATE, 0);
	ASSERT_NE(NULL, mem);
	memcpy(file, self->mem, FOLIOS);
	mem[PAGE + PAGE / 2] ^= 0xff;
	mem[2 * PAGE - 1] ^= 0xff;
	LOOK_AT(mem);
	ASSERT_EQ(0, reach_map(&self->r, IOVA, self->r.mem, 2 * PAGE, VHOST_ACCESS_RO));
	EXPECT_REACH();
	ASSERT_EQ(0, reach_map(&self->r, 2 * IOVA, self->r.mem, FOLIO + PAGE,
			       VHOST_ACCESS_RW));
	EXPECT_PINS(1 + 2 + FOLIO_PAGES + 1);
	EXPECT_REACH();
	EXPECT_EQ(0, memcmp(file, self->mem, FOLIOS));
	munmap(mem, FOLIOS);
}

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#endif

TEST_F(folios, have_guard_pages)
{
	if (madvise(self->mem + FOLIO / 2, PAGE, MADV_GUARD_INSTALL))
		SKIP(return, "no guard pages in this memory, or none in this kernel");
	EXPECT_EQ(-EFAULT, map_at(IOVA, self->mem, FOLIO));
	EXPECT_PINS(0);
	EXPECT_EQ(0, map_at(IOVA, self->mem, FOLIO / 2));
}

/* Who serves the page faults of a mapping of the file, with what the file has */
struct server {
	int uffd;
	size_t page;
	int stop[2];
	long asked;
};

static int serve(struct server *s, uint64_t addr)
{
	struct uffdio_continue what = {
		.range = { addr & ~(s->page - 1), s->page },
	};

	return ioctl(s->uffd, UFFDIO_CONTINUE, &what) ? -errno : 0;
}

static void *serve_all(void *arg)
{
	struct server *s = arg;
	struct pollfd p[] = { { s->uffd, POLLIN, 0 }, { s->stop[0], POLLIN, 0 } };
	struct uffd_msg msg;

	while (poll(p, 2, -1) > 0 && !p[1].revents) {
		if (read(s->uffd, &msg, sizeof(msg)) != sizeof(msg) ||
		    serve(s, msg.arg.pagefault.address))
			break;
		s->asked++;
	}

	return NULL;
}

static int server_init(struct server *s, char *mem, bool hugetlb)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = hugetlb ? UFFD_FEATURE_MINOR_HUGETLBFS :
				      UFFD_FEATURE_MINOR_SHMEM,
	};
	struct uffdio_register what = {
		.range = { (uintptr_t)mem, FOLIOS },
		.mode = UFFDIO_REGISTER_MODE_MINOR,
	};

	s->page = hugetlb ? FOLIO : PAGE;
	/* It can be polled only if it does not block */
	s->uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (s->uffd < 0)
		return -errno;

	return ioctl(s->uffd, UFFDIO_API, &api) ||
	       ioctl(s->uffd, UFFDIO_REGISTER, &what) ||
	       pipe(s->stop) ? -errno : 0;
}

/* It is asked for each page, with those in between that are there */
TEST_F(folios, are_asked_for_page_by_page)
{
	char *mem = huge_map(self->fd, FOLIOS, MAP_SHARED, 0);
	struct server s = {};
	pthread_t thread;
	int r;

	ASSERT_NE(NULL, mem);
	if (access("/proc/sys/vm/unprivileged_userfaultfd", F_OK))
		SKIP(return, "this kernel has no userfaultfd");
	r = server_init(&s, mem, variant->hugetlb);
	if (r == -EINVAL)
		SKIP(return, "nobody but the kernel serves these page faults here");
	ASSERT_EQ(0, r);
	ASSERT_EQ(0, serve(&s, (uintptr_t)mem));
	ASSERT_EQ(0, serve(&s, (uintptr_t)mem + FOLIO));
	ASSERT_EQ(0, pthread_create(&thread, NULL, serve_all, &s));
	EXPECT_EQ(0, map_at(IOVA, mem, FOLIOS));
	EXPECT_PINS(4 * FOLIO_PAGES);
	close(s.stop[1]);
	pthread_join(thread, NULL);
	EXPECT_EQ((long)(FOLIOS / s.page) - 2, s.asked);
	close(s.uffd);
	munmap(mem, FOLIOS);
}

/* Is there such a function? Also if it is that of another module */
static bool kernel_has(const char *function)
{
	char line[256];
	bool found = false;
	FILE *f = fopen("/proc/kallsyms", "r");
	size_t len = strlen(function);
	char *name;

	while (f && !found && fgets(line, sizeof(line), f)) {
		name = strchr(line, ' ');
		name = name ? strchr(name + 1, ' ') : NULL;
		found = name && !strncmp(name + 1, function, len) &&
			(name[1 + len] == '\n' || name[1 + len] == '\t');
	}
	if (f)
		fclose(f);

	return found;
}

static long in_page_table(const char *mem, size_t size)
{
	size_t at;
	long n = 0;

	for (at = 0; at < size; at += PAGE)
		n += phys_addr(mem + at) != 0;

	return n;
}

/*
 * Only what is looked at gets into the page table: the first page of each. At this
 * address they are not there as huge pages.
 */
TEST_F(folios, are_pinned_as_a_whole)
{
	char *mem;

	if (!kernel_has("folio_add_pins") || !kernel_has("lock_vma_under_rcu"))
		SKIP(return, "this kernel has no way to pin a folio as a whole");
	if (variant->hugetlb)
		SKIP(return, "not for this memory: a folio has one entry there");
	mem = huge_map(self->fd, FOLIOS, MAP_SHARED, FOLIO + PAGE);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, map_at(IOVA, mem, FOLIOS));
	EXPECT_EQ(4, in_page_table(mem, FOLIOS));

	/* ... of what follows on the first, which is pinned with the page before it */
	ASSERT_NE(MAP_FAILED,
		  mmap(mem - PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_EQ(0, map_at(2 * IOVA, mem - PAGE, FOLIOS + PAGE));
	EXPECT_EQ(FOLIO_PAGES + 3, in_page_table(mem, FOLIOS));
	EXPECT_PINS(2 * 4 * FOLIO_PAGES + 1);
	munmap(mem, FOLIOS);
}

#define CGROUPS		"/sys/fs/cgroup"
#define OWN_CGROUP	CGROUPS "/vdpa-map_path"

/* From the root's, which hands memory on to its children. One that is left is used */
static int cgroup_enter(void)
{
	char control[256];

	if (read_file(CGROUPS "/cgroup.subtree_control", control, sizeof(control)) ||
	    !strstr(control, "memory"))
		return -ENOENT;
	if (mkdir(OWN_CGROUP, 0700) && errno != EEXIST)
		return -errno;

	return write_file(OWN_CGROUP "/cgroup.procs", "0");
}

static void cgroup_leave(void)
{
	write_file(CGROUPS "/cgroup.procs", "0");
	rmdir(OWN_CGROUP);
}

/* Bytes of the kernel's own objects */
static long cgroup_slab(void)
{
	return read_key(OWN_CGROUP "/memory.stat", "slab ");
}

/* Is it within these? The kernel adds up what its processors count every few seconds */
static bool cgroup_slab_gets(long least, long most)
{
	uint64_t end = now_ms() + 10000;
	long slab;

	do {
		slab = cgroup_slab();
		if (least <= slab && slab <= most)
			return true;
		usleep(100000);
	} while (now_ms() < end);

	return false;
}

/* The kernel keeps a table of the mappings, and the parent has one as well */
#define TABLES_PER_RANGE	(2 * 96L)

/* What a client has the kernel allocate counts towards the limit of its cgroup */
TEST_F(map, tables_are_charged_to_the_cgroup)
{
	long before;

	if (!self->dev.created)
		SKIP(return, "moves this process to the root's cgroup");
	if (cgroup_enter())
		SKIP(return, "no memory cgroups here, or not root");
	before = cgroup_slab();
	EXPECT_LE(0, before);
	EXPECT_EQ(0, map_at(IOVA, self->mem, BULK));
	EXPECT_TRUE(cgroup_slab_gets(before + BULK_PAGES * TABLES_PER_RANGE, LONG_MAX)) {
		TH_LOG("%ld bytes a range", (cgroup_slab() - before) / BULK_PAGES);
	}
	EXPECT_EQ(0, unmap_at(IOVA, BULK));
	EXPECT_TRUE(cgroup_slab_gets(0, before + BULK_PAGES * TABLES_PER_RANGE / 4));
	cgroup_leave();
}

/* A limit that is no number of ranges is refused, and not taken for a large one */
TEST(limit_below_one_refuses_updates)
{
	static const char *const limits[][2] = {
		{ "max_iotlb_entries=0" }, { "max_iotlb_entries=-1" },
	};
	static char *const unload[] = { "modprobe", "-r", "vhost_vdpa", NULL };
	static const char *const none[] = { NULL };
	const struct vdpa_parent parent = SIM_NET(true);
	struct vdpa_client c;
	struct vdpa_dev dev;
	const char *why;
	unsigned int i;
	int r;

	if (vdpa_given.name[0])
		SKIP(return, "does not need the device that -d names");
	SKIP_IF_MISSING(vdpa_load_parent(&parent, &why), why);
	if (run_program(unload))
		SKIP(return, "vhost_vdpa is in use");
	/* No assertion: the others need the module as it was */
	for (i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		EXPECT_EQ(0, load_module("vhost_vdpa", limits[i], &why));
		r = vdpa_dev_get(&dev, &parent, &why);
		EXPECT_EQ(0, r);
		if (!r) {
			EXPECT_EQ(0, client_open(&c, &dev, 0));
			EXPECT_EQ(0, client_ack(&c, F_BASIC));
			EXPECT_EQ(-EINVAL, client_map(&c));
			client_close(&c);
			vdpa_dev_put(&dev);
		}
		EXPECT_EQ(0, run_program(unload));
	}
	EXPECT_EQ(0, load_module("vhost_vdpa", none, &why));
}

/*
 * vhost-net has the same table, in which the oldest ranges make room. Nobody sees here
 * which are left: a kernel with DEBUG_LIST sees if it is in order
 */
TEST(full_table_of_vhost_net_takes_more)
{
	static const char *const modules[] = { "vhost_net", NULL };
	const uint64_t features = BIT_ULL(VIRTIO_F_VERSION_1) |
				  BIT_ULL(VIRTIO_F_ACCESS_PLATFORM);
	const uint64_t backend = BIT_ULL(VHOST_BACKEND_F_IOTLB_MSG_V2);
	struct vdpa_client c = {};
	char *mem = aligned_alloc(PAGE, PAGE);
	const char *why;
	uint64_t i;

	ASSERT_NE(NULL, mem);
	if (load_modules(modules, &why))
		SKIP(return, "%s", why);
	c.fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	if (c.fd < 0)
		SKIP(return, "no vhost-net, or not root");
	ASSERT_EQ(0, ioctl(c.fd, VHOST_SET_OWNER));
	ASSERT_EQ(0, ioctl(c.fd, VHOST_SET_BACKEND_FEATURES, &backend));
	ASSERT_EQ(0, ioctl(c.fd, VHOST_SET_FEATURES, &features));

	for (i = 0; i < 3 * VHOST_ENTRIES; i++)
		ASSERT_EQ(0, client_map_at(&c, 0, i * PAGE, mem, PAGE));
	EXPECT_EQ(0, client_unmap_at(&c, 0, 0, i * PAGE));
	EXPECT_EQ(0, client_map_at(&c, 0, 0, mem, PAGE));
	close(c.fd);
	free(mem);
}

int main(int argc, char **argv)
{
	int r = vdpa_test_main(argc, argv);

	/* A test that was killed has left it */
	rmdir(OWN_CGROUP);

	return r;
}
