// SPDX-License-Identifier: GPL-2.0
/*
 * Whoever vhost-vdpa served, and however it left, virtio-vdpa can follow: its
 * drivers find a device that works through the default mapping, and leave it
 * to the next client of vhost-vdpa in the same shape. With -d DEV -r, on that
 * device.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

FIXTURE(handover)
{
	struct vdpa_dev dev;
	long pins;
	char log[256];
};

FIXTURE_VARIANT(handover)
{
	struct vdpa_parent parent;
};

FIXTURE_VARIANT_ADD(handover, net_set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(handover, net_dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_VARIANT_ADD(handover, blk_set_map)
{
	.parent = SIM_BLK(true),
};

FIXTURE_VARIANT_ADD(handover, blk_dma_map)
{
	.parent = SIM_BLK(false),
};

FIXTURE_VARIANT_ADD(handover, net_mlx5)
{
	.parent = MLX5_NET,
};

FIXTURE_VARIANT_ADD(handover, vduse_blk)
{
	.parent = VDUSE_BLK,
};

FIXTURE_SETUP(handover)
{
	const char *why;
	int r;

	r = vdpa_dev_get(&self->dev, &variant->parent, &why);
	if (!r && !vdpa_may_rebind(&self->dev))
		SKIP(return, "rebinds the device that -d names only with -r");
	SKIP_IF_MISSING(r, why);
	self->pins = pins_in_system();
	log_errors(NULL, 0);
}

FIXTURE_TEARDOWN(handover)
{
	EXPECT_EQ(self->pins, pins_in_system());
	EXPECT_NO_LOG();
	vdpa_dev_put(&self->dev);
	EXPECT_NO_VIOLATIONS();
}

/* What a client of vhost-vdpa leaves behind */
enum leave {
	LEAVE_CLEAN,		/* it unmapped everything */
	LEAVE_MAPPED,
	LEAVE_UNTOUCHED,	/* it opened the file, and that was all */
};

static int use_vhost(struct vdpa_dev *dev, unsigned int asid, bool persist,
		     enum leave leave)
{
	struct vdpa_client c;
	int r;

	r = client_open(&c, dev, asid);
	if (r)
		return r;
	if (leave == LEAVE_UNTOUCHED)
		goto out;

	r = client_ack(&c, persist ? c.features : F_BASIC);
	if (!r)
		r = client_map(&c);
	if (!r)
		r = client_start(&c);
	if (!r)
		r = client_io(&c, IO_TIMEOUT_MS);
	if (!r && leave == LEAVE_CLEAN)
		r = client_unmap(&c);
out:
	client_close(&c);
	return r;
}

TEST_F(handover, device_that_was_never_open)
{
	ASSERT_VIRTIO_IO();
	ASSERT_VIRTIO_IO();
}

TEST_F(handover, client_that_did_nothing)
{
	ASSERT_EQ(0, use_vhost(&self->dev, 0, false, LEAVE_UNTOUCHED));
	ASSERT_VIRTIO_IO();
}

TEST_F(handover, compat_client_that_unmapped)
{
	ASSERT_EQ(0, use_vhost(&self->dev, 0, false, LEAVE_CLEAN));
	ASSERT_VIRTIO_IO();
}

TEST_F(handover, compat_client_that_left_mappings)
{
	ASSERT_EQ(0, use_vhost(&self->dev, 0, false, LEAVE_MAPPED));
	ASSERT_VIRTIO_IO();
}

TEST_F(handover, persist_client_that_unmapped)
{
	ASSERT_EQ(0, use_vhost(&self->dev, 0, true, LEAVE_CLEAN));
	ASSERT_VIRTIO_IO();
}

TEST_F(handover, persist_client_that_left_mappings)
{
	ASSERT_EQ(0, use_vhost(&self->dev, 0, true, LEAVE_MAPPED));
	ASSERT_VIRTIO_IO();
}

TEST_F(handover, persist_client_of_the_last_address_space)
{
	ASSERT_EQ(0, use_vhost(&self->dev, self->dev.nas - 1, true,
			       LEAVE_MAPPED));
	ASSERT_VIRTIO_IO();
}

TEST_F(handover, client_that_was_killed)
{
	pid_t pid = client_fork(&self->dev, 0);

	ASSERT_LT(0, pid);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	ASSERT_VIRTIO_IO();
}

TEST_F_TIMEOUT(handover, there_and_back_100_times, 600)
{
	unsigned int i;

	for (i = 0; i < vdpa_rounds(100); i++) {
		ASSERT_EQ(0, use_vhost(&self->dev, i / 4 % self->dev.nas, i & 1,
				       i & 2 ? LEAVE_MAPPED : LEAVE_CLEAN)) {
			TH_LOG("in round %d", i);
		}
		ASSERT_VIRTIO_IO();
	}
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
