// SPDX-License-Identifier: GPL-2.0
/*
 * A device reaches what its client mapped, all of it, as it is allowed to, and
 * nothing else: compared to the byte, lib/reach.h, on each parent and in each of
 * its address spaces.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

#define PAGE	4096UL
/* A prime number of pages: what is a power of two apart is another one */
#define BLOCK	(67 * PAGE)
#define IOVA	(4 * GIB)

#define RO	VHOST_ACCESS_RO
#define WO	VHOST_ACCESS_WO
#define RW	VHOST_ACCESS_RW

FIXTURE(reach)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	struct reach r;
	long pins;
};

FIXTURE_VARIANT(reach)
{
	struct vdpa_parent parent;
	unsigned int asid;
};

FIXTURE_VARIANT_ADD(reach, net_set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(reach, net_set_map_asid1)
{
	.parent = SIM_NET(true),
	.asid = 1,
};

FIXTURE_VARIANT_ADD(reach, net_dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_VARIANT_ADD(reach, net_dma_map_asid1)
{
	.parent = SIM_NET(false),
	.asid = 1,
};

FIXTURE_VARIANT_ADD(reach, blk_set_map)
{
	.parent = SIM_BLK(true),
};

FIXTURE_VARIANT_ADD(reach, blk_dma_map)
{
	.parent = SIM_BLK(false),
};

FIXTURE_VARIANT_ADD(reach, net_mlx5)
{
	.parent = MLX5_NET,
};

FIXTURE_VARIANT_ADD(reach, net_mlx5_asid1)
{
	.parent = MLX5_NET,
	.asid = 1,
};

FIXTURE_VARIANT_ADD(reach, vduse_blk)
{
	.parent = VDUSE_BLK,
};

FIXTURE_SETUP(reach)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	const char *why;
	int r;

	self->c.fd = -1;
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	r = vdpa_dev_get(&self->dev, &variant->parent, &why);
	if (!r && !self->dev.created)
		SKIP(return, "not for the device that -d names: moves single bytes");
	SKIP_IF_MISSING(r, why);

	self->pins = pins_in_system();
	r = client_open(&self->c, &self->dev, variant->asid);
	if (!r && !(self->c.features & F_PERSIST)) {
		client_close(&self->c);
		vdpa_dev_put(&self->dev);
		SKIP(return, "the parent does not offer IOTLB_PERSIST");
	}
	if (!r)
		r = client_ack(&self->c, F_BASIC | F_PERSIST);
	if (!r)
		r = client_map(&self->c);
	if (!r)
		r = reach_init(&self->r, &self->c, BLOCK);
	if (r) {
		client_close(&self->c);
		vdpa_dev_put(&self->dev);
	}
	ASSERT_EQ(0, r);
}

FIXTURE_TEARDOWN(reach)
{
	client_close(&self->c);
	reach_exit(&self->r);
	EXPECT_EQ(self->pins, pins_in_system());
	vdpa_dev_put(&self->dev);
	EXPECT_NO_VIOLATIONS();
}

/* A part of the block of memory that begins with page @_first */
#define MAP(_iova, _first, _pages, _perm)				\
	ASSERT_EQ(0, reach_map(&self->r, _iova,				\
			       self->r.mem + (_first) * PAGE,		\
			       (_pages) * PAGE, _perm))

#define UNMAP(_iova, _pages)						\
	ASSERT_EQ(0, reach_unmap(&self->r, _iova, (_pages) * PAGE))

#define EXPECT_REACH()							\
	EXPECT_STREQ("", reach_check(&self->r))

TEST_F(reach, is_what_is_mapped)
{
	MAP(IOVA, 10, 4, RW);
	EXPECT_REACH();
}

TEST_F(reach, goes_over_neighbours_and_not_over_holes)
{
	MAP(IOVA, 10, 2, RW);
	MAP(IOVA + 2 * PAGE, 30, 2, RW);
	MAP(IOVA + 5 * PAGE, 12, 1, RW);
	EXPECT_REACH();
}

TEST_F(reach, keeps_to_permissions)
{
	MAP(IOVA, 10, 2, RO);
	MAP(IOVA + 2 * PAGE, 30, 2, WO);
	MAP(IOVA + 4 * PAGE, 20, 2, RW);
	EXPECT_REACH();
}

/* The pages could be written by somebody who may, which the client is not */
TEST_F(reach, of_memory_to_read_is_to_read)
{
	const uint8_t *mem = self->r.mem + 10 * PAGE;

	ASSERT_EQ(0, mprotect((void *)mem, 2 * PAGE, PROT_READ));
	MAP(IOVA, 10, 2, RO);
	EXPECT_EQ(-EFAULT, reach_map(&self->r, IOVA + 2 * PAGE, mem, PAGE, RW));
	EXPECT_EQ(-EFAULT, reach_map(&self->r, IOVA + 2 * PAGE, mem, PAGE, WO));
	EXPECT_REACH();
}

TEST_F(reach, is_of_pages_in_any_order)
{
	size_t i;

	for (i = 0; i < 6; i++)
		MAP(IOVA + i * PAGE, 40 - 3 * i, 1, RW);
	EXPECT_REACH();
}

/* On either side of 1 and 4 GiB, further apart than that, and high up */
TEST_F(reach, has_far_ranges)
{
	MAP(GIB - PAGE, 10, 2, RW);
	MAP(4 * GIB - 2 * PAGE, 20, 3, RW);
	MAP(7 * GIB + 5 * PAGE, 30, 1, RW);
	MAP(BIT_ULL(40), 40, 1, RW);
	EXPECT_REACH();
}

TEST_F(reach, has_long_ranges)
{
	/* Each page is a range: too many for a slow kernel */
	size_t size = vdpa_rounds(1024) * (GIB / 1024) + 8 * PAGE;

	if (self->dev.use_va)
		SKIP(return, "not for this parent: one range is one file");
	ASSERT_EQ(0, reach_alias(&self->r, size));
	ASSERT_EQ(0, reach_map(&self->r, IOVA + PAGE, self->r.alias, size, RW));
	EXPECT_REACH();
}

/* What is mapped is whole pages: only inside is it known to the byte */
TEST_F(reach, begins_and_ends_within_pages)
{
	const uint64_t iova = IOVA + PAGE / 2;

	if (self->dev.use_va)
		SKIP(return, "not for this parent: files are mapped by the page");
	ASSERT_EQ(0, reach_map(&self->r, iova, self->r.mem + 10 * PAGE + PAGE / 2,
			       PAGE, RW));
	START();
	EXPECT_STREQ("", reach_probe(&self->r, iova, 64));
	EXPECT_STREQ("", reach_probe(&self->r, IOVA + PAGE - 32, 64));
	EXPECT_STREQ("", reach_probe(&self->r, iova + PAGE - 64, 64));
}

/* A batch may leave an address with other pages, or other permissions */
TEST_F(reach, changes_with_the_batch)
{
	MAP(IOVA, 10, 2, RW);
	MAP(IOVA + 2 * PAGE, 12, 2, RW);
	EXPECT_REACH();

	ASSERT_EQ(0, batch_begin());
	UNMAP(IOVA, 2);
	MAP(IOVA, 40, 2, RW);
	UNMAP(IOVA + 2 * PAGE, 2);
	MAP(IOVA + 2 * PAGE, 12, 2, RO);
	ASSERT_EQ(0, batch_end());
	EXPECT_REACH();
}

/* What is mapped in the other space is neither reached nor in the way */
TEST_F(reach, is_of_one_space)
{
	unsigned int other = !variant->asid;

	if (self->dev.nas < 2)
		SKIP(return, "not for this parent: it has one address space");
	ASSERT_EQ(0, client_map_at(&self->c, other, IOVA - PAGE,
				   self->r.mem + 50 * PAGE, 4 * PAGE));
	MAP(IOVA, 10, 2, RW);
	EXPECT_REACH();
	ASSERT_EQ(0, client_unmap_at(&self->c, other, IOVA - PAGE, 4 * PAGE));
	EXPECT_REACH();
}

/* A buffer that cannot be written takes one frame with it, and the next arrives */
TEST_F(reach, bad_buffer_costs_no_more_than_a_frame)
{
	const size_t hdr = sizeof(struct virtio_net_hdr_v1);
	struct client_part in = { IOVA, CLIENT_BUF_SIZE, true };

	if (variant->parent.ops != &sim_ops || self->c.device_id != VIRTIO_ID_NET)
		SKIP(return, "not for this parent: it is the simulator's choice");
	MAP(IOVA, 10, 1, RO);
	START();
	client_fill_frame(&self->c, self->c.page->out + hdr, CLIENT_BUF_SIZE - hdr);
	client_post(&self->c, 0, 0, &in, 1);
	client_post_buffer(&self->c, 1);
	client_post_frame(&self->c, 0);
	client_post_frame(&self->c, 1);
	ASSERT_EQ(0, client_kick(&self->c, 1));
	EXPECT_EQ(0, client_wait(&self->c, 1, IO_TIMEOUT_MS));
	EXPECT_EQ(0, client_wait(&self->c, 0, IO_TIMEOUT_MS));
	EXPECT_EQ(0U, self->c.page->ring[0].used.ring[0].len);
	EXPECT_EQ((uint32_t)CLIENT_BUF_SIZE, self->c.page->ring[0].used.ring[1].len);
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
