// SPDX-License-Identifier: GPL-2.0
/*
 * What a VDUSE daemon reaches of its clients' memory, and when it hears of it:
 * the kernel is asked for a file at an address, as the daemon does, and the
 * daemon says how many ranges it has mapped. It keeps them over a reset in
 * these tests, to see that it is told when they go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

#define BULK_SIZE	(32UL << 20)
#define BULK_IOVA	BIT_ULL(32)
#define OTHER_IOVA	BIT_ULL(33)
/* Ranges that vhost takes where nothing is pinned: max_iotlb_entries by default */
#define VHOST_ENTRIES	2048
/* What virtio-vdpa's buffers are copied to, from address 0 on */
#define BOUNCE_SIZE	(64ULL << 20)
/* Where VDUSE has coherent memory, and none of it for so small a device */
#define COHERENT_IOVA	(96UL << 20)

/* What a test lets the daemon have, and what VDUSE gives it by default */
#define TIMEOUT_S	2
#define DEFAULT_S	30

static const struct vdpa_parent parent = VDUSE_BLK;
static const struct vdpa_parent with_packed = VDUSE_BLK_ENTRIES(VDUSE_ENTRIES, .packed = true);

FIXTURE(vduse)
{
	struct vdpa_dev dev;
	struct vduse_daemon *daemon;
	struct vdpa_client c;
	void *bulk;
};

FIXTURE_SETUP(vduse)
{
	const char *why;
	int r;

	self->c.fd = -1;
	SKIP_IF_MISSING(vdpa_dev_get(&self->dev, &parent, &why), why);
	self->daemon = self->dev.daemon;
	if (!self->daemon)
		SKIP(return, "needs a daemon of its own");

	self->bulk = vdpa_dev_alloc(&self->dev, BULK_SIZE);
	r = client_open(&self->c, &self->dev, 0);
	if (!r)
		r = client_ack(&self->c, self->c.features);
	if (r || !self->bulk)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
	ASSERT_NE(NULL, self->bulk);
	vduse_daemon_keep(self->daemon, true);
}

FIXTURE_TEARDOWN(vduse)
{
	/* A test may have stopped it */
	if (self->daemon->pid)
		kill(self->daemon->pid, SIGCONT);
	client_close(&self->c);
	vdpa_dev_put(&self->dev);
}

#define EXPECT_REACHED(_iova)						\
	EXPECT_EQ(1, vduse_daemon_reaches_at(self->daemon, _iova))

#define EXPECT_NOT_REACHED(_iova)					\
	EXPECT_EQ(0, vduse_daemon_reaches_at(self->daemon, _iova))

/* The daemon can ask for nothing, and has let go of what it had */
#define EXPECT_NOTHING_REACHED()					\
do {									\
	EXPECT_EQ(0, vduse_daemon_reaches(self->daemon, 0, UINT64_MAX));\
	EXPECT_EQ(0, vduse_daemon_mapped(self->daemon));		\
} while (0)

static int seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec;
}

/* Memory of files that are not on a disk, in the whole system, in MiB */
static long shmem_mib(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long kib = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Shmem: %ld", &kib) == 1)
			break;
	if (f)
		fclose(f);

	return kib / 1024;
}

TEST_F(vduse, offers_persistence)
{
	EXPECT_EQ(F_PERSIST, self->c.features & F_PERSIST);
}

TEST_F(vduse, reset_keeps_what_the_daemon_reaches)
{
	int updates;

	ASSERT_EQ(0, client_map(&self->c));
	ASSERT_EQ(0, map_at(BULK_IOVA, self->bulk, BULK_SIZE));
	START();
	EXPECT_IO();
	updates = vduse_daemon_updates(self->daemon);

	ASSERT_EQ(0, client_reset(&self->c));
	EXPECT_REACHED(self->c.iova);
	EXPECT_REACHED(BULK_IOVA);
	START();
	EXPECT_IO();
	EXPECT_EQ(updates, vduse_daemon_updates(self->daemon));
}

TEST_F(vduse, unmap_is_out_of_reach)
{
	ASSERT_EQ(0, client_map(&self->c));
	ASSERT_EQ(0, map_at(BULK_IOVA, self->bulk, BULK_SIZE));
	START();
	EXPECT_IO();
	ASSERT_EQ(0, client_unmap(&self->c));

	EXPECT_NOT_REACHED(self->c.iova);
	EXPECT_REACHED(BULK_IOVA);
	EXPECT_EQ(0, vduse_daemon_mapped(self->daemon));
	EXPECT_NO_IO();
}

TEST_F(vduse, close_takes_all_away)
{
	ASSERT_EQ(0, client_map(&self->c));
	ASSERT_EQ(0, map_at(BULK_IOVA, self->bulk, BULK_SIZE));
	START();
	EXPECT_IO();
	EXPECT_NE(0, vduse_daemon_mapped(self->daemon));

	client_close(&self->c);
	EXPECT_NOTHING_REACHED();
}

TEST_F(vduse, close_gives_the_memory_back)
{
	/* Others may have files in memory, too */
	const long half = BULK_SIZE / 2 >> 20;
	long mib;

	ASSERT_EQ(0, client_map(&self->c));
	ASSERT_EQ(0, map_at(BULK_IOVA, self->bulk, BULK_SIZE));
	mib = shmem_mib();
	ASSERT_EQ(0, munmap(self->bulk, BULK_SIZE));
	EXPECT_LE(mib - half, shmem_mib());

	client_close(&self->c);
	EXPECT_GE(mib - half, shmem_mib());
}

TEST_F(vduse, kill_takes_all_away)
{
	pid_t pid;

	client_close(&self->c);
	pid = client_fork(&self->dev, 0);
	ASSERT_LT(0, pid);
	EXPECT_EQ(1, vduse_daemon_reaches(self->daemon, 0, UINT64_MAX));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_NOTHING_REACHED();
}

TEST_F(vduse, open_takes_away_what_the_kernel_had)
{
	client_close(&self->c);
	ASSERT_EQ(0, vdpa_bind(&self->dev, "virtio_vdpa"));
	ASSERT_EQ(0, virtio_io(&self->dev));
	EXPECT_EQ(1, vduse_daemon_reaches(self->daemon, 0, UINT64_MAX));
	EXPECT_NE(0, vduse_daemon_mapped(self->daemon));

	ASSERT_EQ(0, vdpa_bind(&self->dev, "vhost_vdpa"));
	ASSERT_EQ(0, client_open(&self->c, &self->dev, 0));
	EXPECT_NOTHING_REACHED();
}

/* virtio-vdpa has the device, until the daemon has mapped the domain at @_iova */
#define HOLD_AND_LEAVE(_iova)						\
do {									\
	client_close(&self->c);						\
	ASSERT_EQ(0, vdpa_bind(&self->dev, "virtio_vdpa"));		\
	ASSERT_EQ(0, virtio_io(&self->dev));				\
	ASSERT_EQ(0, vduse_daemon_hold(self->daemon, _iova));		\
	ASSERT_EQ(0, vdpa_bind(&self->dev, "vhost_vdpa"));		\
	ASSERT_EQ(0, client_open(&self->c, &self->dev, 0));		\
} while (0)

/* The file begins later, or is another part of it that is mapped */
TEST_F(vduse, hole_before_a_file_is_not_mapped)
{
	const int size = getpagesize();

	ASSERT_EQ(0, munmap(self->bulk, size));
	EXPECT_EQ(-EFAULT, map_at(BULK_IOVA, self->bulk, 2 * size));
	EXPECT_NOTHING_REACHED();
	EXPECT_EQ(0, map_at(BULK_IOVA, self->bulk + size, size));
	EXPECT_REACHED(BULK_IOVA);
}

/* A failure that has mapped nothing has nothing to undo: not all there is */
TEST_F(vduse, failed_update_at_0_keeps_the_rest)
{
	void *nowhere = (void *)BIT_ULL(62);

	ASSERT_EQ(0, client_map(&self->c));
	EXPECT_EQ(-EFAULT, map_at(0, nowhere, getpagesize()));
	EXPECT_REACHED(self->c.iova);
	START();
	EXPECT_IO();
}

TEST_F(vduse, daemon_is_given_the_bounce_buffer_as_one)
{
	uint64_t start, last;

	HOLD_AND_LEAVE(0);
	vduse_daemon_held_range(self->daemon, &start, &last);
	EXPECT_EQ(0ULL, start);
	EXPECT_EQ(BOUNCE_SIZE - 1, last);
}

/* Not the page, either, the number of which is that of the client's address */
TEST_F(vduse, stale_mapping_gets_nothing_of_a_client)
{
	const int size = getpagesize();
	uint8_t *canary, *addr;
	int fd, i;

	canary = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)canary);
	memset(canary, 0x5a, size);
	fd = memfd_create("client", 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, size));
	HOLD_AND_LEAVE(COHERENT_IOVA);

	addr = (uint8_t *)phys_addr(canary);
	ASSERT_EQ(addr, mmap(addr, size, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0));
	ASSERT_EQ(0, map_at(COHERENT_IOVA, addr, size));
	EXPECT_EQ(-EFAULT, vduse_daemon_touch(self->daemon));
	for (i = 0; i < size; i++)
		EXPECT_EQ(0x5a, canary[i]) break;
	close(fd);
}

TEST_F(vduse, file_of_the_domain_is_not_for_clients)
{
	const int size = getpagesize();
	void *addr;
	int fd;

	HOLD_AND_LEAVE(COHERENT_IOVA);
	fd = vduse_daemon_held_file(self->daemon);
	ASSERT_LE(0, fd);
	addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    COHERENT_IOVA);
	ASSERT_NE(MAP_FAILED, addr);

	EXPECT_EQ(-EINVAL, map_at(COHERENT_IOVA, addr, size));
	EXPECT_EQ(-EFAULT, vduse_daemon_touch(self->daemon));
	close(fd);
}

TEST_F(vduse, full_table_keeps_the_rest)
{
	const size_t size = getpagesize();
	int i;

	ASSERT_EQ(0, client_map(&self->c));
	for (i = 1; i < VDUSE_ENTRIES; i++)
		ASSERT_EQ(0, map_at(BULK_IOVA + 2 * i * size, self->bulk, size));
	START();
	EXPECT_IO();

	ASSERT_EQ(0, batch_begin());
	ASSERT_EQ(0, map_at(OTHER_IOVA, self->bulk, size));
	EXPECT_EQ(-ENOSPC, batch_end());
	EXPECT_NOT_REACHED(OTHER_IOVA);
	for (i = 1; i < VDUSE_ENTRIES; i++)
		EXPECT_REACHED(BULK_IOVA + 2 * i * size);
	EXPECT_IO();

	/* Another takes the place of one that goes */
	ASSERT_EQ(0, unmap_at(BULK_IOVA + 2 * size, size));
	EXPECT_EQ(0, map_at(OTHER_IOVA, self->bulk, size));
	EXPECT_REACHED(OTHER_IOVA);
}

/* In vhost's table, which takes more than VDUSE's */
TEST_F(vduse, update_without_room_keeps_no_file)
{
	void *other = vdpa_dev_alloc(&self->dev, BULK_SIZE);
	const long half = BULK_SIZE / 2 >> 20;
	const size_t size = getpagesize();
	long mib;
	int i;

	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, batch_begin());
	for (i = 0; i < VHOST_ENTRIES; i++)
		ASSERT_EQ(0, map_at(BULK_IOVA + 2 * i * size, self->bulk, size));
	EXPECT_EQ(-ENOSPC, map_at(OTHER_IOVA, other, BULK_SIZE));

	mib = shmem_mib();
	ASSERT_EQ(0, munmap(other, BULK_SIZE));
	EXPECT_GE(mib - half, shmem_mib());
}

TEST_F(vduse, full_table_can_be_replaced)
{
	const size_t size = getpagesize();
	int i;

	for (i = 0; i < VDUSE_ENTRIES; i++)
		ASSERT_EQ(0, map_at(BULK_IOVA + 2 * i * size, self->bulk, size));
	ASSERT_EQ(0, batch_begin());
	for (i = 0; i < VDUSE_ENTRIES; i++) {
		ASSERT_EQ(0, unmap_at(BULK_IOVA + 2 * i * size, size));
		ASSERT_EQ(0, map_at(OTHER_IOVA + 2 * i * size, self->bulk, size));
	}
	ASSERT_EQ(0, batch_end());

	for (i = 0; i < VDUSE_ENTRIES; i++) {
		EXPECT_NOT_REACHED(BULK_IOVA + 2 * i * size);
		EXPECT_REACHED(OTHER_IOVA + 2 * i * size);
	}
}

/* There is nothing that it could answer with an error */
TEST_F(vduse, open_asks_a_daemon_nothing)
{
	int updates = vduse_daemon_updates(self->daemon);

	client_close(&self->c);
	vduse_daemon_refuse(self->daemon, 100);
	EXPECT_EQ(0, client_open(&self->c, &self->dev, 0));
	vduse_daemon_refuse(self->daemon, 0);
	EXPECT_EQ(updates, vduse_daemon_updates(self->daemon));
}

TEST_F(vduse, refused_map_keeps_the_rest)
{
	ASSERT_EQ(0, client_map(&self->c));
	START();
	EXPECT_IO();

	/* The update, and what the kernel says next to have all as it was */
	vduse_daemon_refuse(self->daemon, 3);
	EXPECT_GT(0, map_at(BULK_IOVA, self->bulk, BULK_SIZE));
	vduse_daemon_refuse(self->daemon, 0);
	EXPECT_NOT_REACHED(BULK_IOVA);
	EXPECT_REACHED(self->c.iova);
	EXPECT_IO();

	EXPECT_EQ(0, map_at(BULK_IOVA, self->bulk, BULK_SIZE));
	EXPECT_REACHED(BULK_IOVA);
}

TEST_F(vduse, refused_unmap_changes_nothing)
{
	ASSERT_EQ(0, client_map(&self->c));
	ASSERT_EQ(0, map_at(BULK_IOVA, self->bulk, BULK_SIZE));
	START();
	EXPECT_IO();

	vduse_daemon_refuse(self->daemon, 1);
	EXPECT_GT(0, unmap_at(BULK_IOVA, BULK_SIZE));
	EXPECT_REACHED(BULK_IOVA);
	EXPECT_REACHED(self->c.iova);
	EXPECT_IO();

	ASSERT_EQ(0, unmap_at(BULK_IOVA, BULK_SIZE));
	EXPECT_NOT_REACHED(BULK_IOVA);
}

/* It may stay as it is, but what it asks the kernel for is gone */
TEST_F(vduse, refused_reset_takes_all_away)
{
	MAP_AND_START();
	ASSERT_EQ(0, map_at(BULK_IOVA, self->bulk, BULK_SIZE));

	vduse_daemon_refuse_resets(self->daemon, true);
	vduse_daemon_refuse(self->daemon, 100);
	client_close(&self->c);
	EXPECT_EQ(0, vduse_daemon_reaches(self->daemon, 0, UINT64_MAX));
	EXPECT_EQ(-EIO, client_open(&self->c, &self->dev, 0));

	vduse_daemon_refuse_resets(self->daemon, false);
	vduse_daemon_refuse(self->daemon, 0);
	EXPECT_EQ(0, client_open(&self->c, &self->dev, 0));
	EXPECT_NOTHING_REACHED();
}

/* Do this while the daemon refuses one message of it. False: there are fewer */
static bool refuses_message(struct __test_metadata *_metadata,
			    struct _test_data_vduse *self, unsigned int nth,
			    int (*op)(void *arg))
{
	bool failed;
	int result;

	ASSERT_EQ(0, vduse_daemon_fail_during(self->daemon, nth, VDUSE_REFUSES,
					      true, &failed, op, &self->c, &result));

	return failed;
}

static int do_start(void *c)
{
	return client_start(c);
}

static int do_close(void *c)
{
	client_close(c);

	return 0;
}

TEST_F(vduse, refused_start_is_a_failure)
{
	unsigned int nth;

	ASSERT_EQ(0, client_map(&self->c));
	for (nth = 1; refuses_message(_metadata, self, nth, do_start); nth++) {
		EXPECT_TRUE(client_is_running(&self->c) ||
			    client_has_failed(&self->c)) {
			TH_LOG("message %u", nth);
		}
		ASSERT_EQ(0, client_reset(&self->c));
	}
	EXPECT_LT(3U, nth);
	EXPECT_IO();
}

/* What it does not give up at a close, it does before the next client has anything */
TEST_F(vduse, refused_close_is_asked_again)
{
	unsigned int nth = 0;
	bool refused;

	do {
		MAP_AND_START();
		refused = refuses_message(_metadata, self, ++nth, do_close);
		ASSERT_EQ(0, client_open(&self->c, &self->dev, 0));
		ASSERT_EQ(0, client_ack(&self->c, self->c.features));
		EXPECT_EQ(0, vduse_daemon_mapped(self->daemon)) {
			TH_LOG("message %u", nth);
		}
	} while (refused);
	EXPECT_LT(2U, nth);
}

TEST_F(vduse, stuck_daemon_does_not_hang_close)
{
	int start;

	ASSERT_EQ(0, client_map(&self->c));
	START();
	EXPECT_IO();
	ASSERT_EQ(0, vduse_set_timeout(self->daemon, TIMEOUT_S));
	ASSERT_EQ(0, kill(self->daemon->pid, SIGSTOP));

	start = seconds();
	client_close(&self->c);
	/* The default is 30 seconds; the machine may be slow */
	EXPECT_GE(10 * TIMEOUT_S, seconds() - start);

	/* The device is lost, and says so */
	EXPECT_EQ(-EIO, client_open(&self->c, &self->dev, 0));
}

/* Not even without a timeout; vduse_deaths.c has more of this */
TEST_F_TIMEOUT(vduse, close_needs_no_daemon, 60)
{
	int start;

	MAP_AND_START();
	ASSERT_EQ(0, vduse_set_timeout(self->daemon, 0));
	ASSERT_EQ(0, vduse_daemon_kill(self->daemon));

	start = seconds();
	client_close(&self->c);
	EXPECT_GE(10 * TIMEOUT_S, seconds() - start);
	ASSERT_EQ(0, vduse_daemon_restart(self->daemon));
	EXPECT_NOTHING_REACHED();
	EXPECT_EQ(0, client_open(&self->c, &self->dev, 0));
}

/* One that closes its file, or it would say so once more as it exits */
static pid_t fork_and_close(struct vdpa_dev *dev, struct vduse_daemon *daemon)
{
	struct vdpa_client c;
	pid_t pid = fork();

	if (pid)
		return pid;
	if (client_open(&c, dev, 0) || client_map(&c) || client_start(&c) ||
	    client_io(&c, IO_TIMEOUT_MS) || kill(daemon->pid, SIGSTOP))
		_exit(1);
	client_close(&c);
	_exit(0);
}

TEST_F(vduse, daemon_hears_of_the_reset_of_a_killed_client)
{
	int resets, updates, status;
	long sleeps;
	pid_t pid;

	client_close(&self->c);
	resets = vduse_daemon_resets(self->daemon);
	updates = vduse_daemon_updates(self->daemon);
	pid = fork_and_close(&self->dev, self->daemon);
	ASSERT_LT(0, pid);
	/* The daemon is stopped once the client is about to close */
	ASSERT_EQ(self->daemon->pid,
		  waitpid(self->daemon->pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, await_wait(pid, "vduse_"));
	sleeps = sleeps_ever(pid);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(0, await_wakeup(pid, sleeps));
	ASSERT_EQ(0, kill(self->daemon->pid, SIGCONT));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status));

	/* At open and at close; what it mapped, and that it is gone */
	EXPECT_EQ(resets + 2, vduse_daemon_resets(self->daemon));
	EXPECT_EQ(updates + 2, vduse_daemon_updates(self->daemon));
	EXPECT_NOTHING_REACHED();
}

/* It misses nothing: what it reaches is up to the kernel alone */
TEST_F(vduse, next_daemon_serves_the_same_mappings)
{
	ASSERT_EQ(0, client_map(&self->c));
	START();
	EXPECT_IO();
	ASSERT_EQ(0, vduse_daemon_kill(self->daemon));
	ASSERT_EQ(0, vduse_daemon_restart(self->daemon));

	EXPECT_REACHED(self->c.iova);
	ASSERT_EQ(0, client_reset(&self->c));
	START();
	EXPECT_IO();
	client_close(&self->c);
	EXPECT_NOTHING_REACHED();
}

/* It has one daemon, and stays while it has one, or is on the bus */
TEST_F(vduse, device_in_use_is_busy)
{
	char path[128];

	snprintf(path, sizeof(path), "/dev/vduse/%s", self->dev.name);
	EXPECT_EQ(-EBUSY, vduse_destroy(self->dev.name));
	EXPECT_EQ(-1, open(path, O_RDWR | O_CLOEXEC));
	EXPECT_EQ(EBUSY, errno);

	client_close(&self->c);
	ASSERT_EQ(0, vdpa_dev_del(&self->dev));
	self->dev.created = false;
	EXPECT_EQ(-EBUSY, vduse_destroy(self->dev.name));
	EXPECT_LE(0, vduse_daemon_reaches(self->daemon, 0, UINT64_MAX));
}

/* The exit of a client that cannot be killed any more, as it is dead already */
TEST_F_TIMEOUT(vduse, exit_does_not_wait_for_ever, 3 * DEFAULT_S)
{
	pid_t pid;
	int i;

	client_close(&self->c);
	pid = client_fork(&self->dev, 0);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, vduse_set_timeout(self->daemon, 0));
	ASSERT_EQ(0, kill(self->daemon->pid, SIGSTOP));
	ASSERT_EQ(0, kill(pid, SIGKILL));

	for (i = 0; i < 3 * DEFAULT_S / 2; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			break;
		sleep(1);
	}
	EXPECT_GT(3 * DEFAULT_S / 2, i);
	if (i == 3 * DEFAULT_S / 2) {
		kill(self->daemon->pid, SIGCONT);
		waitpid(pid, NULL, 0);
	}
}

/* Each allocation of it fails once */
TEST_F(vduse, failed_creation_leaves_nothing)
{
	const char *name = "vduse-nth";
	unsigned int nth = 0;
	bool failed;
	int r;

	if (fault_init())
		SKIP(return, "no fault injection in this kernel");
	do {
		fault_arm(++nth);
		r = vduse_create(name, false);
		failed = fault_disarm();
		if (!r)
			ASSERT_EQ(0, vduse_destroy(name));
	} while (failed);
	EXPECT_EQ(0, r);
	EXPECT_LT(10U, nth);
}

/* A daemon that serves packed rings, too, and a client that has such */
FIXTURE(packed)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	void *other;
};

FIXTURE_SETUP(packed)
{
	const char *why;
	int r;

	self->c.fd = -1;
	SKIP_IF_MISSING(vdpa_dev_get(&self->dev, &with_packed, &why), why);
	if (!self->dev.daemon)
		SKIP(return, "needs a daemon of its own");

	self->other = vdpa_dev_alloc(&self->dev, getpagesize());
	r = client_open(&self->c, &self->dev, 0);
	if (!r)
		r = client_ack(&self->c, self->c.features);
	if (r || !self->other)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
	ASSERT_NE(NULL, self->other);
	self->c.packed = true;
}

FIXTURE_TEARDOWN(packed)
{
	client_close(&self->c);
	vdpa_dev_put(&self->dev);
}

/* More requests than fit, so that the ring begins anew several times */
#define EXPECT_ROUNDS_OF_IO()						\
do {									\
	int _i;								\
									\
	for (_i = 0; _i < CLIENT_RING_NUM; _i++)			\
		EXPECT_IO() break;					\
} while (0)

TEST_F(packed, persist_reset_keeps_mappings)
{
	ASSERT_EQ(0, client_map(&self->c));
	START();
	EXPECT_ROUNDS_OF_IO();
	ASSERT_EQ(0, client_reset(&self->c));
	START();
	EXPECT_ROUNDS_OF_IO();
}

TEST_F(packed, changes_of_the_map_take_effect)
{
	ASSERT_EQ(0, client_map(&self->c));
	START();
	EXPECT_ROUNDS_OF_IO();
	ASSERT_EQ(0, map_at(BULK_IOVA, self->other, getpagesize()));
	EXPECT_ROUNDS_OF_IO();
	ASSERT_EQ(0, client_unmap(&self->c));
	EXPECT_NO_IO();
	ASSERT_EQ(0, client_reset(&self->c));
	ASSERT_EQ(0, client_map(&self->c));
	START();
	EXPECT_ROUNDS_OF_IO();
}

/* The client is told where the device is, as QEMU asks, and tells it so after a reset */
TEST_F(packed, goes_on_after_a_reset)
{
	unsigned int at, wraps = 0;
	int i;

	ASSERT_EQ(0, client_map(&self->c));
	START();
	for (i = 0; i < 2 * CLIENT_RING_NUM; i++) {
		ASSERT_IO();
		at = self->c.avail[0];
		ASSERT_EQ(0, client_get_bases(&self->c));
		ASSERT_EQ(at << 16 | at, self->c.base[0]);
		wraps |= at & PACKED_WRAP ? 1 : 2;
		ASSERT_EQ(0, client_reset(&self->c));
		START();
	}
	EXPECT_EQ(3U, wraps);
	EXPECT_IO();
}

/* Both indices and both wrap counters reach the daemon, each as itself */
TEST_F(packed, state_is_told_in_full)
{
	static const uint32_t bases[] = {
		0x80008000, 0x00000000, 0x80050003, 0x00058003, 0x00038005, 0x80070001,
	};
	unsigned int i;

	ASSERT_EQ(0, client_map(&self->c));
	for (i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		self->c.keep_rings = true;
		self->c.base[0] = bases[i];
		START();
		ASSERT_EQ(0, client_get_bases(&self->c));
		EXPECT_EQ(bases[i], self->c.base[0]);
		ASSERT_EQ(0, client_reset(&self->c));
	}
}

/* What one client negotiated is not what the next one has */
TEST_F(packed, next_client_has_split_rings)
{
	ASSERT_EQ(0, client_map(&self->c));
	START();
	EXPECT_ROUNDS_OF_IO();
	ASSERT_EQ(0, client_reset(&self->c));

	self->c.packed = false;
	START();
	EXPECT_IO();
	ASSERT_EQ(0, client_get_bases(&self->c));
	EXPECT_EQ(2U, self->c.base[0]);
	ASSERT_EQ(0, client_reset(&self->c));
	START();
	EXPECT_IO();

	client_close(&self->c);
	ASSERT_EQ(0, client_open(&self->c, &self->dev, 0));
	MAP_AND_START();
	ASSERT_EQ(0, client_get_bases(&self->c));
	EXPECT_EQ(2U, self->c.base[0]);
}

/* Whatever rings virtio's driver takes of those that are offered */
TEST_F(packed, virtio_follows_and_leaves)
{
	ASSERT_EQ(0, client_map(&self->c));
	START();
	EXPECT_ROUNDS_OF_IO();
	client_close(&self->c);
	ASSERT_VIRTIO_IO();
	ASSERT_EQ(0, client_open(&self->c, &self->dev, 0));
	EXPECT_EQ(0, vduse_daemon_reaches(self->dev.daemon, 0, UINT64_MAX));
	self->c.packed = true;
	MAP_AND_START();
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
