// SPDX-License-Identifier: GPL-2.0
/*
 * How a device is left if something is in the way: it does not answer, it does
 * not stop, or its default mapping does not come back. Nobody waits for ever,
 * nothing is called or reached that is gone, and whoever has the device next
 * finds it in order, or does not get it.
 */
#include <ctype.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

static int leave_driver(const struct vdpa_dev *dev)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/bus/vdpa/devices/%s/driver/unbind",
		 dev->name);

	return write_file(path, dev->name);
}

static int config_call(struct vdpa_client *c, int fd)
{
	return ioctl(c->fd, VHOST_VDPA_SET_CONFIG_CALL, &fd) ? -errno : 0;
}

static bool is_told(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	eventfd_t count;

	return poll(&p, 1, ms) == 1 && !eventfd_read(fd, &count);
}

/* More than a process may have */
#define NO_FD	1000000

TEST(configuration_changes_for_who_wants_to_know)
{
	const struct vdpa_parent parent = MLX5_NET;
	int first = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int second = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct vdpa_client c;
	struct vdpa_dev dev;
	const char *why;

	SKIP_IF_MISSING(vdpa_dev_get(&dev, &parent, &why), why);
	ASSERT_EQ(0, client_open(&c, &dev, 0));
	ASSERT_EQ(0, client_ack(&c, F_BASIC));
	ASSERT_EQ(0, config_call(&c, first));
	ASSERT_EQ(0, client_map(&c));
	ASSERT_EQ(0, client_start(&c));
	ASSERT_EQ(0, mlx5_mock_set_link(&c, false));
	EXPECT_TRUE(is_told(first, IO_TIMEOUT_MS));
	EXPECT_EQ(0, config_call(&c, second));
	ASSERT_EQ(0, mlx5_mock_set_link(&c, true));
	EXPECT_TRUE(is_told(second, IO_TIMEOUT_MS));
	/* What is no eventfd does not take its place */
	EXPECT_EQ(-EBADF, config_call(&c, NO_FD));
	EXPECT_EQ(-EINVAL, config_call(&c, c.fd));
	ASSERT_EQ(0, mlx5_mock_set_link(&c, false));
	EXPECT_TRUE(is_told(second, IO_TIMEOUT_MS));
	EXPECT_EQ(0, config_call(&c, VHOST_FILE_UNBIND));
	ASSERT_EQ(0, mlx5_mock_set_link(&c, true));
	EXPECT_FALSE(is_told(first, NO_IO_MS));
	EXPECT_FALSE(is_told(second, NO_IO_MS));
	client_close(&c);
	vdpa_dev_put(&dev);
	close(first);
	close(second);
}

/* How often the device's virtqueues have interrupted the parent; -1: it asked for none */
static long vp_vdpa_interrupts(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	char line[1024], *at;
	long sum = -1;

	while (f && fgets(line, sizeof(line), f)) {
		at = strchr(line, ':');
		if (!at || !strstr(line, "vp-vdpa[") || strstr(line, "-config"))
			continue;
		if (sum < 0)
			sum = 0;
		/* A count for each CPU, then words */
		for (at = strtok(at + 1, " "); at && isdigit(*at); at = strtok(NULL, " "))
			sum += atol(at);
	}
	if (f)
		fclose(f);

	return sum;
}

static bool vp_vdpa_is_interrupted(long before)
{
	uint64_t end = now_ms() + IO_TIMEOUT_MS;

	while (vp_vdpa_interrupts() <= before) {
		if (now_ms() >= end)
			return false;
		usleep(1000);
	}

	return true;
}

/* With callbacks for the virtqueues and for the configuration if "call" is one */
static int start_with_calls(struct vdpa_client *c, struct vdpa_dev *dev, int call)
{
	int r = client_open(c, dev, 0) ?: client_ack(c, F_BASIC);

	if (!r && call >= 0)
		r = client_want_calls(c) ?: config_call(c, call);

	return r ?: client_map(c) ?: client_start(c);
}

/*
 * vp_vdpa remembers callbacks over a reset. The second client does not want
 * calls, and what the first one wanted is gone with the memory around it. Others
 * may have that memory by then, so that one round does not always show it.
 */
TEST(callbacks_end_with_their_client)
{
	const struct vdpa_parent parent = VP_VDPA_BLK(getenv("VDPA_PCI"));
	const struct vdpa_parent sim = SIM_NET(true);
	int fd = eventfd(0, EFD_CLOEXEC);
	struct vdpa_dev dev, other;
	struct vdpa_client c;
	long before;
	char line[256];
	const char *why;
	int round;

	if (!parent.mgmtdev)
		SKIP(return, "no VDPA_PCI=ADDRESS of a virtio disk behind an IOMMU");
	SKIP_IF_MISSING(vdpa_dev_get(&dev, &parent, &why), why);
	SKIP_IF_MISSING(vdpa_load_parent(&sim, &why), why);
	log_errors(NULL, 0);

	for (round = 0; round < 4; round++) {
		ASSERT_EQ(0, start_with_calls(&c, &dev, fd));
		ASSERT_EQ(0, client_io(&c, IO_TIMEOUT_MS));
		client_close(&c);
		ASSERT_EQ(0, leave_driver(&dev));
		/* Or the second client is given the memory of the first one */
		ASSERT_EQ(0, vdpa_dev_get_second(&other, &sim));
		ASSERT_EQ(0, vdpa_bind(&dev, "vhost_vdpa"));

		ASSERT_EQ(0, start_with_calls(&c, &dev, -1));
		/* Late, so that nobody else is given it either */
		vdpa_dev_put(&other);
		before = vp_vdpa_interrupts();
		EXPECT_EQ(0, client_io(&c, IO_TIMEOUT_MS));
		/* Data may be there before the interrupt, and close() ends these */
		if (before >= 0)
			EXPECT_TRUE(vp_vdpa_is_interrupted(before));
		client_close(&c);
	}
	EXPECT_EQ(0, log_errors(line, sizeof(line))) {
		TH_LOG("first error in the log: %s", line);
	}
	vdpa_dev_put(&dev);
	close(fd);
}

static int ring_call(struct vdpa_client *c, unsigned int ring, int fd)
{
	struct vhost_vring_file call = { .index = ring, .fd = fd };

	return ioctl(c->fd, VHOST_SET_VRING_CALL, &call) ? -errno : 0;
}

/* Logged for an interrupt which others cannot take over, as there is one with that eventfd */
#define NOT_TAKEN	"irq bypass producer"

/*
 * Of two virtqueues with one eventfd, only the first one's interrupt can be taken
 * over by others. The second one's is not theirs when it is given up, and theirs
 * instead of the first one's when that has been.
 */
TEST(virtqueues_share_an_eventfd)
{
	const struct vdpa_parent parent = VP_VDPA_BLK(getenv("VDPA_PCI"));
	struct vdpa_dev dev;
	struct vdpa_client c;
	const char *why;

	if (!parent.mgmtdev)
		SKIP(return, "no VDPA_PCI=ADDRESS of a virtio disk behind an IOMMU");
	SKIP_IF_MISSING(vdpa_dev_get(&dev, &parent, &why), why);
	ASSERT_LE(0, log_lines(NOT_TAKEN));

	ASSERT_EQ(0, client_open(&c, &dev, 0));
	ASSERT_LE(2U, c.nvqs) {
		TH_LOG("the disk needs two virtqueues");
	}
	ASSERT_EQ(0, client_ack(&c, F_BASIC));
	ASSERT_EQ(0, client_want_calls(&c));
	ASSERT_EQ(c.call[1], dup2(c.call[0], c.call[1]));
	ASSERT_EQ(0, client_map(&c));
	ASSERT_EQ(0, client_start(&c));
	ASSERT_EQ(0, client_io(&c, IO_TIMEOUT_MS));

	/* Here the kernel died */
	EXPECT_EQ(0, ring_call(&c, 1, VHOST_FILE_UNBIND));
	EXPECT_EQ(0, ring_call(&c, 1, c.call[0]));
	EXPECT_EQ(0, ring_call(&c, 0, VHOST_FILE_UNBIND));
	EXPECT_LT(0, log_lines(NOT_TAKEN));
	EXPECT_EQ(0, ring_call(&c, 1, c.call[0]));
	EXPECT_EQ(0, log_lines(NOT_TAKEN));
	EXPECT_EQ(0, ring_call(&c, 0, c.call[0]));
	EXPECT_EQ(1, log_lines(NOT_TAKEN));
	EXPECT_EQ(0, client_io(&c, IO_TIMEOUT_MS));
	EXPECT_EQ(0, client_wait_call(&c, IO_TIMEOUT_MS));
	client_close(&c);
	vdpa_dev_put(&dev);
}

/* The kernel's own ENOTSUPP, which open() passes on */
#define KERNEL_ENOTSUPP	524

static bool has_iommu(const char *address)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);

	return !access(path, F_OK);
}

/*
 * If nothing translates for a device, it would reach all of memory for its client.
 * Each open ends as the one before, and leaves nothing that is in the way of others.
 */
TEST(device_that_nothing_translates_for_is_the_kernels)
{
	const struct vdpa_parent parent = VP_VDPA_BLK(getenv("VDPA_PCI"));
	struct vdpa_client c;
	struct vdpa_dev dev;
	long pins;
	const char *why;
	int round, i;

	if (!parent.mgmtdev || has_iommu(parent.mgmtdev))
		SKIP(return, "no VDPA_PCI=ADDRESS of a virtio disk without an IOMMU");
	SKIP_IF_MISSING(vdpa_dev_get(&dev, &parent, &why), why);
	pins = pins_in_system();

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 3; i++)
			ASSERT_EQ(-KERNEL_ENOTSUPP, client_open(&c, &dev, 0));
		ASSERT_EQ(0, vdpa_bind(&dev, "virtio_vdpa"));
		EXPECT_EQ(0, virtio_io(&dev));
		ASSERT_EQ(0, vdpa_bind(&dev, "vhost_vdpa"));
	}
	EXPECT_EQ(pins, pins_in_system());
	/* It waits for whoever has the device open */
	EXPECT_EQ(0, vdpa_dev_del(&dev));
	dev.created = false;
	vdpa_dev_put(&dev);
}

/* How long a removal may take once nothing is in its way */
#define PATIENCE_S	10

static pid_t delete_in_background(const struct vdpa_dev *dev)
{
	pid_t pid = fork();

	if (!pid)
		_exit(vdpa_dev_del(dev) ? 1 : 0);

	return pid;
}

/* Its status; -ETIMEDOUT: it did not exit */
static int wait_for_exit(pid_t pid, int seconds)
{
	int i, status;

	for (i = 0; i < 10 * seconds; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(100000);
	}

	return -ETIMEDOUT;
}

/* open() takes as long as the daemon does to answer, and fails if the answer is no */
TEST(device_can_be_deleted_while_open_fails)
{
	const struct vdpa_parent parent = VDUSE_BLK;
	struct vdpa_client c;
	struct vdpa_dev dev;
	const char *why;
	pid_t open, del;

	SKIP_IF_MISSING(vdpa_dev_get(&dev, &parent, &why), why);
	if (!dev.daemon)
		SKIP(return, "needs a daemon of its own");
	vduse_daemon_refuse_resets(dev.daemon, true);
	ASSERT_EQ(0, kill(dev.daemon->pid, SIGSTOP));
	ASSERT_EQ(dev.daemon->pid, waitpid(dev.daemon->pid, NULL, WUNTRACED));

	open = fork();
	ASSERT_LE(0, open);
	if (!open)
		_exit(client_open(&c, &dev, 0) ? 1 : 0);
	ASSERT_EQ(0, await_wait(open, "vduse_"));
	del = delete_in_background(&dev);
	ASSERT_LT(0, del);
	ASSERT_EQ(0, await_wait(del, "vhost_vdpa_"));
	ASSERT_EQ(0, kill(dev.daemon->pid, SIGCONT));

	EXPECT_LT(0, wait_for_exit(open, PATIENCE_S));
	/* If it waits for ever, nothing can be done about the device any more */
	ASSERT_EQ(0, wait_for_exit(del, PATIENCE_S));

	dev.created = false;
	vdpa_dev_put(&dev);
}

/* Faults are the simulator's: operations of its that fail on demand */
FIXTURE(leave)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	long pins;
};

FIXTURE_VARIANT(leave)
{
	struct vdpa_parent parent;
};

FIXTURE_VARIANT_ADD(leave, set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(leave, dma_map)
{
	.parent = SIM_NET(false),
};

static const char *const faults[] = {
	"fail_reset", "fail_reset_map", "fail_set_map", "fail_dma_unmap",
	"lose_map", "bad_desc_group",
};

static void stop_faults(void)
{
	unsigned int i;

	for (i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		sim_fail_stop(faults[i]);
}

FIXTURE_SETUP(leave)
{
	const char *why;
	int r;

	self->c.fd = -1;
	r = vdpa_dev_get(&self->dev, &variant->parent, &why);
	if (!r && !self->dev.created)
		SKIP(return, "does not upset the device that -d names");
	SKIP_IF_MISSING(r, why);
	if (sim_fail("fail_reset", 1, false)) {
		vdpa_dev_put(&self->dev);
		SKIP(return, "no fault injection in this kernel, or not root");
	}
	stop_faults();

	self->pins = pins_in_system();
	r = client_open(&self->c, &self->dev, 0);
	if (!r)
		r = client_ack(&self->c, F_BASIC | F_PERSIST);
	if (r)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
}

FIXTURE_TEARDOWN(leave)
{
	stop_faults();
	client_close(&self->c);
	vdpa_dev_put(&self->dev);
	EXPECT_EQ(self->pins, pins_in_system());
}

/* From now on, until it is told to stop */
#define FAIL(_fault)							\
	ASSERT_EQ(0, sim_fail(_fault, 1, true))

#define FAIL_UNMAP()							\
	FAIL(variant->parent.batch ? "fail_set_map" : "fail_dma_unmap")

#define EXPECT_VIRTIO_REFUSED()						\
	EXPECT_GT(0, vdpa_bind(&self->dev, "virtio_vdpa"))

#define EXPECT_PINNED(_n)						\
	EXPECT_EQ(self->pins + (_n), pins_in_system())

TEST_F(leave, device_that_does_not_stop_is_not_passed_on)
{
	MAP_AND_START();
	FAIL("fail_reset");
	client_close(&self->c);
	EXPECT_PINNED(1);
	EXPECT_VIRTIO_REFUSED();
	EXPECT_PINNED(1);

	stop_faults();
	ASSERT_VIRTIO_IO();
	EXPECT_PINNED(0);
}

/* No driver of that name has the device any more, but what takes it back is in there */
TEST_F(leave, module_stays_with_what_it_left)
{
	static const char *const modules[] = { "vhost_vdpa", NULL };
	const char *why;

	MAP_AND_START();
	FAIL("fail_reset");
	client_close(&self->c);
	EXPECT_VIRTIO_REFUSED();
	ASSERT_EQ(-EAGAIN, unload_module(modules[0]));

	stop_faults();
	ASSERT_EQ(0, vdpa_bind(&self->dev, "virtio_vdpa"));
	EXPECT_EQ(0, unload_module(modules[0]));
	ASSERT_EQ(0, load_modules(modules, &why));
	ASSERT_VIRTIO_IO();
}

TEST_F(leave, device_that_does_not_stop_can_be_opened_when_it_does)
{
	MAP_AND_START();
	FAIL("fail_reset");
	client_close(&self->c);
	EXPECT_EQ(-EIO, client_open(&self->c, &self->dev, 0));
	EXPECT_PINNED(1);

	stop_faults();
	ASSERT_EQ(0, client_open(&self->c, &self->dev, 0));
	EXPECT_PINNED(0);
	MAP_AND_START();
	client_close(&self->c);
	ASSERT_VIRTIO_IO();
}

/* A driver of virtio cannot be told that its reset failed. Nobody else has it */
TEST_F(leave, device_that_does_not_stop_gets_no_other_virtio_driver)
{
	client_close(&self->c);
	ASSERT_EQ(0, vdpa_bind(&self->dev, "virtio_vdpa"));
	ASSERT_EQ(0, virtio_io(&self->dev));
	FAIL("fail_reset");
	EXPECT_EQ(0, virtio_bind(&self->dev, false));
	EXPECT_EQ(-EIO, virtio_bind(&self->dev, true));

	/* The reset is tried again */
	stop_faults();
	EXPECT_EQ(0, virtio_bind(&self->dev, true));
	EXPECT_EQ(0, virtio_io(&self->dev));
	ASSERT_EQ(0, vdpa_bind(&self->dev, "vhost_vdpa"));
}

/* The core marks such a device as FAILED, and the next probe begins with that */
TEST_F(leave, virtio_driver_works_after_a_probe_that_failed)
{
	unsigned int nth;
	int status = 0;

	if (fault_init())
		SKIP(return, "no fault injection in this kernel, or not root");
	client_close(&self->c);
	ASSERT_EQ(0, vdpa_bind(&self->dev, "virtio_vdpa"));
	for (nth = 1; !(status & VIRTIO_CONFIG_S_FAILED) && nth < 100; nth++) {
		virtio_bind(&self->dev, false);
		fault_arm(nth);
		virtio_bind(&self->dev, true);
		fault_disarm();
		status = virtio_status(&self->dev);
		ASSERT_LE(0, status);
	}
	ASSERT_NE(0, status & VIRTIO_CONFIG_S_FAILED);
	EXPECT_EQ(0, virtio_bind(&self->dev, true));
	EXPECT_EQ(0, virtio_io(&self->dev));
	ASSERT_EQ(0, vdpa_bind(&self->dev, "vhost_vdpa"));
}

TEST_F(leave, default_that_does_not_come_back_is_tried_again)
{
	MAP_AND_START();
	FAIL("fail_reset_map");
	client_close(&self->c);
	/* The pages are taken from the device in another way */
	EXPECT_PINNED(0);
	EXPECT_VIRTIO_REFUSED();

	stop_faults();
	ASSERT_VIRTIO_IO();
}

TEST_F(leave, default_is_tried_again_after_a_client_that_did_nothing)
{
	FAIL("fail_reset_map");
	client_close(&self->c);
	EXPECT_VIRTIO_REFUSED();
	EXPECT_GT(0, vdpa_bind(&self->dev, "vhost_vdpa"));

	stop_faults();
	ASSERT_VIRTIO_IO();
}

TEST_F(leave, pages_that_cannot_be_taken_away_stay_pinned)
{
	MAP_AND_START();
	FAIL("fail_reset_map");
	FAIL_UNMAP();
	client_close(&self->c);
	EXPECT_PINNED(1);
	EXPECT_VIRTIO_REFUSED();
	EXPECT_PINNED(1);

	stop_faults();
	ASSERT_VIRTIO_IO();
	EXPECT_PINNED(0);
}

TEST_F(leave, deleted_device_keeps_no_pins)
{
	MAP_AND_START();
	FAIL("fail_reset");
	FAIL("fail_reset_map");
	FAIL_UNMAP();
	client_close(&self->c);
	EXPECT_PINNED(1);
	ASSERT_EQ(0, vdpa_dev_del(&self->dev));
	self->dev.created = false;
	EXPECT_PINNED(0);
}

/* .set_map may fail and leave nothing mapped */
TEST_F(leave, mapping_that_got_lost_is_renewed_by_a_reset)
{
	const uint64_t other = 2 * self->c.iova;

	if (!variant->parent.batch)
		SKIP(return, "not for this parent: it has no .set_map");
	MAP_AND_START();
	FAIL("lose_map");
	EXPECT_EQ(-EIO, map_at(other, self->c.page, sizeof(*self->c.page)));
	stop_faults();
	EXPECT_PINNED(1);
	EXPECT_NO_IO();

	ASSERT_EQ(0, client_reset(&self->c));
	START();
	EXPECT_IO();
}

/* The device can have written to them before that */
TEST_F(leave, pages_of_a_map_that_failed_are_dirty)
{
	const uint64_t pa = phys_addr(self->c.page);

	if (!variant->parent.batch)
		SKIP(return, "not for this parent: it has no .set_map");
	if (!pa || phys_dirty(pa) < 0)
		SKIP(return, "can't tell what is dirty: not root");
	EXPECT_EQ(0, phys_dirty(pa));
	FAIL("lose_map");
	EXPECT_EQ(-EIO, client_map(&self->c));
	EXPECT_EQ(1, phys_dirty(pa));
}

/* Its mapping went with a reset from before it asked for more */
TEST_F(leave, late_acknowledgement_brings_the_mapping_back)
{
	if (!variant->parent.batch)
		SKIP(return, "not for this parent: it has no .set_map");
	ASSERT_EQ(0, client_ack(&self->c, F_BASIC));
	MAP_AND_START();
	ASSERT_EQ(0, client_reset(&self->c));
	START();
	EXPECT_NO_IO();

	ASSERT_EQ(0, client_ack(&self->c, F_BASIC | F_PERSIST));
	ASSERT_EQ(0, client_reset(&self->c));
	START();
	EXPECT_IO();
}

TEST_F(leave, reset_fails_as_long_as_a_mapping_is_lost)
{
	const uint64_t other = 2 * self->c.iova;

	if (!variant->parent.batch)
		SKIP(return, "not for this parent: it has no .set_map");
	MAP_AND_START();
	FAIL("lose_map");
	EXPECT_EQ(-EIO, map_at(other, self->c.page, sizeof(*self->c.page)));
	EXPECT_EQ(-EIO, client_reset(&self->c));
	stop_faults();

	/* What is mapped next brings back the rest, too */
	EXPECT_EQ(0, map_at(other, self->c.page, sizeof(*self->c.page)));
	START();
	EXPECT_IO();
}

/* What a parent says is looked at before a client is told */
TEST_F(leave, descriptor_group_is_one_that_is_there)
{
	FAIL("bad_desc_group");
	EXPECT_EQ(-EIO, client_desc_group(&self->c, 0));
	stop_faults();

	/* For a client that does not know of it */
	ASSERT_EQ(0, client_ack(&self->c, F_BASIC));
	FAIL("bad_desc_group");
	EXPECT_EQ(-EIO, client_set_group_asid(&self->c, 0, 1));
	stop_faults();
	EXPECT_EQ(0, client_set_group_asid(&self->c, 0, 1));
	EXPECT_LE(0, client_desc_group(&self->c, 0));
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
