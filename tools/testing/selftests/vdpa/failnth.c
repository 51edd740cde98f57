// SPDX-License-Identifier: GPL-2.0
/*
 * Each memory allocation on the way fails, one after the other: nothing may
 * oops or leak, and afterwards everything works. Needs fault injection
 * (CONFIG_FAILSLAB, CONFIG_FAULT_INJECTION_DEBUG_FS) and root.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

#define LOG_FAULT()	TH_LOG("after %s %u", f.objects ? "object" : "page", f.nth)

FIXTURE(failnth)
{
	struct vdpa_dev dev;
};

FIXTURE_VARIANT(failnth)
{
	struct vdpa_parent parent;
};

FIXTURE_VARIANT_ADD(failnth, net_set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(failnth, net_dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_VARIANT_ADD(failnth, blk_set_map)
{
	.parent = SIM_BLK(true),
};

FIXTURE_VARIANT_ADD(failnth, net_mlx5)
{
	.parent = MLX5_NET,
};

FIXTURE_SETUP(failnth)
{
	const char *why;
	int r;

	if (fault_init())
		SKIP(return, "no fault injection in this kernel, or not root");

	r = vdpa_dev_get(&self->dev, &variant->parent, &why);
	if (!r && !self->dev.created)
		SKIP(return, "does not upset the device that -d names");
	SKIP_IF_MISSING(r, why);
}

FIXTURE_TEARDOWN(failnth)
{
	vdpa_dev_put(&self->dev);
	EXPECT_NO_VIOLATIONS();
}

/* Does virtio-vdpa find a device that moves data? */
static int default_works(const struct vdpa_dev *like, const char *name)
{
	struct vdpa_dev dev = *like;

	snprintf(dev.name, sizeof(dev.name), "%s", name);

	return vdpa_bind(&dev, "virtio_vdpa") ?: virtio_io(&dev);
}

TEST_F_TIMEOUT(failnth, create_survives_failed_allocations, 1200)
{
	struct faults f = {};
	struct vdpa_genl g;
	int r = 0, gone;

	/* Some parents have no more than one device */
	vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, vdpa_genl_open(&g));
	while (fault_next(&f)) {
		r = vdpa_genl_add(&g, "vdpa_failnth", &variant->parent);
		f.failed = fault_disarm();
		if (!f.failed)
			EXPECT_EQ(0, r);
		/* What was made in spite of it is as good as any */
		if (!r && f.failed)
			EXPECT_EQ(0, default_works(&self->dev, "vdpa_failnth")) {
				LOG_FAULT();
			}
		/* It may be there also if not all went well, or no answer came */
		gone = vdpa_genl_del(&g, "vdpa_failnth");
		if (!r)
			ASSERT_EQ(0, gone);
	}
	EXPECT_FALSE(f.failed);
	EXPECT_LT(10U, f.nth);
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

TEST_F_TIMEOUT(failnth, session_survives_failed_allocations, 1200)
{
	long pins = pins_in_system();
	struct faults f = {};
	struct vdpa_client c;
	int r = 0;

	while (fault_next(&f)) {
		r = open_map_run_reset_close(&c, &self->dev);
		f.failed = fault_disarm();
		if (!f.failed)
			EXPECT_EQ(0, r);
		ASSERT_EQ(pins, pins_in_system()) {
			LOG_FAULT();
		}
	}
	EXPECT_FALSE(f.failed);
	EXPECT_LT(0U, f.pages);
	EXPECT_LT(10U, f.nth);

	/* And virtio-vdpa can follow */
	ASSERT_EQ(0, vdpa_bind(&self->dev, "virtio_vdpa"));
	EXPECT_EQ(0, virtio_io(&self->dev));
	ASSERT_EQ(0, vdpa_bind(&self->dev, "vhost_vdpa"));
}

#define IOVA	BIT_ULL(32)
#define BULK	(16 * 4096UL)

FIXTURE(mapfail)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	void *mem;		/* BULK bytes */
	long pins;
};

FIXTURE_VARIANT(mapfail)
{
	struct vdpa_parent parent;
};

FIXTURE_VARIANT_ADD(mapfail, set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(mapfail, dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_SETUP(mapfail)
{
	const char *why;
	int r;

	self->c.fd = -1;
	if (fault_init())
		SKIP(return, "no fault injection in this kernel, or not root");

	r = vdpa_dev_get(&self->dev, &variant->parent, &why);
	if (!r && !self->dev.created)
		SKIP(return, "does not upset the device that -d names");
	SKIP_IF_MISSING(r, why);

	self->pins = pins_in_system();
	self->mem = shuffled_alloc(BULK);
	r = self->mem ? client_open(&self->c, &self->dev, 0) : -ENOMEM;
	if (!r)
		r = client_ack(&self->c, self->c.features);
	if (r)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
}

FIXTURE_TEARDOWN(mapfail)
{
	client_close(&self->c);
	EXPECT_EQ(self->pins, pins_in_system());
	vdpa_dev_put(&self->dev);
}

#define ASSERT_CHARGED_IS_PINNED(_n)					\
do {									\
	long _charged = pins_of_process();				\
									\
	ASSERT_EQ(self->pins + _charged, pins_in_system()) {		\
		TH_LOG("after fault %u", _n);				\
	}								\
} while (0)

static int map_batch_unmap_reset(struct vdpa_client *c, void *mem)
{
	int r;

	r = client_map(c);
	if (!r)
		r = client_map_at(c, 0, IOVA, mem, BULK);
	if (!r)
		r = client_start(c);
	if (!r)
		r = client_batch(c, 0, true);
	if (!r)
		r = client_unmap_at(c, 0, IOVA, BULK);
	if (!r)
		r = client_map_at(c, 0, 2 * IOVA, mem, BULK);
	if (!r)
		r = client_map_at(c, 0, IOVA, mem, BULK);
	if (!r)
		r = client_batch(c, 0, false);
	if (!r)
		r = client_reset(c);
	if (!r)
		r = client_unmap_at(c, 0, IOVA, BULK);

	return r;
}

/* The sequence goes no further than to its failure, and is taken back then */
TEST_F_TIMEOUT(mapfail, charged_is_pinned_after_every_fault, 600)
{
	struct faults f = {};
	long charged;
	int r = 0;

	while (fault_next(&f)) {
		r = map_batch_unmap_reset(&self->c, self->mem);
		f.failed = fault_disarm();
		if (!f.failed)
			EXPECT_EQ(0, r);
		/* What an open batch replaces is still pinned */
		charged = pins_of_process();
		ASSERT_LE(self->pins + charged, pins_in_system());
		ASSERT_GE(self->pins + 2 * charged, pins_in_system());

		/* A batch that is open cannot be told from one that is not */
		client_batch(&self->c, 0, false);
		ASSERT_CHARGED_IS_PINNED(f.nth);
		ASSERT_EQ(0, client_reset(&self->c));
		if (pins_of_process())
			ASSERT_EQ(0, client_unmap_at(&self->c, 0, 0, 0));
		ASSERT_EQ(self->pins, pins_in_system());
	}
	EXPECT_FALSE(f.failed);
	EXPECT_LT(0U, f.pages);
	EXPECT_LT(BULK / 4096, f.nth);
}

TEST_F_TIMEOUT(mapfail, close_after_every_fault_leaves_no_pins, 600)
{
	struct faults f = {};
	int r = 0;

	while (fault_next(&f)) {
		r = map_batch_unmap_reset(&self->c, self->mem);
		client_close(&self->c);
		f.failed = fault_disarm();
		if (!f.failed)
			EXPECT_EQ(0, r);
		ASSERT_EQ(self->pins, pins_in_system()) {
			LOG_FAULT();
		}
		ASSERT_EQ(0, client_open(&self->c, &self->dev, 0));
		ASSERT_EQ(0, client_ack(&self->c, self->c.features));
	}
	EXPECT_FALSE(f.failed);
	EXPECT_LT(0U, f.pages);
	EXPECT_LT(BULK / 4096, f.nth);
}

TEST_F(mapfail, failed_invalidate_changes_nothing)
{
	long pins = 1 + BULK / 4096;
	unsigned int nth;
	int r = -ENOMEM;

	MAP_AND_START();
	ASSERT_EQ(0, client_map_at(&self->c, 0, IOVA, self->mem, BULK));
	for (nth = 1; r; nth++) {
		fault_arm(nth);
		r = client_unmap_at(&self->c, 0, IOVA, BULK);
		fault_disarm();
		if (r) {
			ASSERT_EQ(-ENOMEM, r);
			ASSERT_EQ(pins, pins_of_process());
		}
		ASSERT_CHARGED_IS_PINNED(nth);
		ASSERT_IO();
	}
	EXPECT_EQ(1, pins_of_process());
	/* .set_map makes a copy of what remains */
	if (variant->parent.batch)
		EXPECT_LT(2U, nth);
}

TEST_F(mapfail, failed_batch_changes_nothing)
{
	unsigned int nth;
	int r = -ENOMEM;

	MAP_AND_START();
	for (nth = 1; r; nth++) {
		ASSERT_EQ(0, client_batch(&self->c, 0, true));
		ASSERT_EQ(0, client_unmap(&self->c));
		ASSERT_EQ(0, client_map(&self->c));
		ASSERT_EQ(0, client_map_at(&self->c, 0, IOVA, self->mem, BULK));
		fault_arm(nth);
		r = client_batch(&self->c, 0, false);
		fault_disarm();
		if (r) {
			ASSERT_EQ(-ENOMEM, r);
			ASSERT_EQ(1, pins_of_process());
		}
		ASSERT_CHARGED_IS_PINNED(nth);
		ASSERT_IO();
	}
	EXPECT_EQ((long)(1 + BULK / 4096), pins_of_process());
	if (variant->parent.batch)
		EXPECT_LT(2U, nth);
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
