// SPDX-License-Identifier: GPL-2.0
/*
 * Each memory allocation on the way fails, one after the other: nothing may
 * oops or leak, and afterwards everything works. Needs fault injection
 * (CONFIG_FAILSLAB, CONFIG_FAULT_INJECTION_DEBUG_FS) and root.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "vdpa_util.h"

#define FAILSLAB "/sys/kernel/debug/failslab/"

/* More than any of the sequences below comes near */
#define MAX_FAULTS 2000

FIXTURE(failnth)
{
	struct vdpa_dev dev;
	int fd;
};

FIXTURE_VARIANT(failnth)
{
	struct vdpa_parent parent;
};

FIXTURE_VARIANT_ADD(failnth, net_set_map)
{
	.parent = { "vdpasim_net", true, 2, VIRTIO_ID_NET },
};

FIXTURE_VARIANT_ADD(failnth, net_dma_map)
{
	.parent = { "vdpasim_net", false, 2, VIRTIO_ID_NET },
};

FIXTURE_VARIANT_ADD(failnth, blk_set_map)
{
	.parent = { "vdpasim_blk", true, 1, VIRTIO_ID_BLOCK },
};

FIXTURE_VARIANT_ADD(failnth, net_mlx5)
{
	.parent = { MLX5_PARENT, true, 2, VIRTIO_ID_NET },
};

FIXTURE_SETUP(failnth)
{
	const char *why;
	int r;

	self->fd = open("/proc/thread-self/fail-nth", O_RDWR);
	if (self->fd < 0 || write_file(FAILSLAB "ignore-gfp-wait", "N") ||
	    write_file(FAILSLAB "verbose", "0"))
		SKIP(return, "no fault injection in this kernel, or not root");

	r = vdpa_dev_get(&self->dev, &variant->parent, &why);
	if (!r && !self->dev.created)
		SKIP(return, "does not upset the device that -d names");
	if (r)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(failnth)
{
	vdpa_dev_put(&self->dev);
	EXPECT_EQ(0, vdpa_violations()) {
		TH_LOG("%s", mlx5_mock_violation());
	}
}

/* Have the @nth allocation from here on fail */
static void arm(int fd, unsigned int nth)
{
	char buf[16];
	int n = snprintf(buf, sizeof(buf), "%u", nth);

	if (pwrite(fd, buf, n, 0) != n)
		abort();
}

/* Was there one that failed? */
static bool disarm(int fd)
{
	char buf[16];
	int n = pread(fd, buf, sizeof(buf) - 1, 0);

	if (n <= 0)
		abort();
	buf[n] = '\0';
	arm(fd, 0);

	return atoi(buf) == 0;
}

TEST_F_TIMEOUT(failnth, create_survives_failed_allocations, 300)
{
	struct vdpa_genl g;
	unsigned int nth;
	bool failed = true;
	int r, del;

	/* Some parents have no more than one device */
	vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, vdpa_genl_open(&g));
	for (nth = 1; failed && nth < MAX_FAULTS; nth++) {
		arm(self->fd, nth);
		r = vdpa_genl_add(&g, "vdpa_failnth", &variant->parent);
		failed = disarm(self->fd);
		/* It can be there even so: the reply is allocated last */
		del = vdpa_genl_del(&g, "vdpa_failnth");
		if (!r)
			ASSERT_EQ(0, del);
	}
	EXPECT_EQ(0, r);
	EXPECT_FALSE(failed);
	EXPECT_LT(10U, nth);
	close(g.fd);
}

static int open_map_run_reset_close(struct vdpa_client *c, struct vdpa_dev *dev)
{
	int r;

	r = client_open(c, dev, 0);
	if (r)
		return r;
	r = client_ack(c, c->features);
	if (!r)
		r = client_map(c);
	if (!r)
		r = client_start(c);
	if (!r)
		r = client_reset(c);
	client_close(c);

	return r;
}

TEST_F_TIMEOUT(failnth, session_survives_failed_allocations, 300)
{
	long pins = pins_in_system();
	struct vdpa_client c;
	unsigned int nth;
	bool failed = true;
	int r;

	for (nth = 1; failed && nth < MAX_FAULTS; nth++) {
		arm(self->fd, nth);
		r = open_map_run_reset_close(&c, &self->dev);
		failed = disarm(self->fd);
		ASSERT_EQ(pins, pins_in_system()) {
			TH_LOG("after fault %u", nth);
		}
	}
	EXPECT_EQ(0, r);
	EXPECT_FALSE(failed);
	EXPECT_LT(10U, nth);

	/* And virtio-vdpa can follow */
	ASSERT_EQ(0, vdpa_bind(&self->dev, "virtio_vdpa"));
	EXPECT_EQ(0, virtio_io(&self->dev, variant->parent.device_id));
	ASSERT_EQ(0, vdpa_bind(&self->dev, "vhost_vdpa"));
}

int main(int argc, char **argv)
{
	return test_harness_run(vdpa_parse_args(argc, argv), argv);
}
