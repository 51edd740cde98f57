// SPDX-License-Identifier: GPL-2.0
/*
 * What becomes of mappings when the device is reset, by the operations that its
 * parent has, and by what the client acknowledged; see @reset, @compat_reset and
 * @reset_map in include/linux/vdpa.h. The parents here have one of these
 * operations that may be left out, or none; those of the other tests have both, or
 * neither and an IOMMU.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

FIXTURE(parent_ops)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	long pins;
};

FIXTURE_VARIANT(parent_ops)
{
	struct vdpa_parent parent;
};

FIXTURE_VARIANT_ADD(parent_ops, set_map_reset_map)
{
	.parent = SIM_NET(true, .no_compat_reset = true),
};

FIXTURE_VARIANT_ADD(parent_ops, dma_map_reset_map)
{
	.parent = SIM_NET(false, .no_compat_reset = true),
};

FIXTURE_VARIANT_ADD(parent_ops, set_map_alone)
{
	.parent = SIM_NET(true, .no_reset_map = true),
};

FIXTURE_VARIANT_ADD(parent_ops, dma_map_alone)
{
	.parent = SIM_NET(false, .no_reset_map = true),
};

FIXTURE_SETUP(parent_ops)
{
	const char *why;
	int r;

	self->c.fd = -1;
	r = vdpa_dev_get(&self->dev, &variant->parent, &why);
	if (!r && !self->dev.created)
		SKIP(return, "not for this parent: it has the operations that it has");
	SKIP_IF_MISSING(r, why);
	self->pins = pins_in_system();
	r = client_open(&self->c, &self->dev, 0);
	if (r)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
}

FIXTURE_TEARDOWN(parent_ops)
{
	client_close(&self->c);
	EXPECT_EQ(self->pins, pins_in_system());
	vdpa_dev_put(&self->dev);
	EXPECT_NO_VIOLATIONS();
}

/* The device is reset with its page mapped, and started again */
#define START_AGAIN()							\
do {									\
	MAP_AND_START();						\
	ASSERT_EQ(0, client_reset(&self->c));				\
	START();							\
} while (0)

TEST_F(parent_ops, client_that_acknowledges_keeps_its_mappings)
{
	if (variant->parent.no_reset_map) {
		EXPECT_EQ(0ULL, self->c.features & F_PERSIST);
		EXPECT_EQ(-EOPNOTSUPP, client_ack(&self->c, F_BASIC | F_PERSIST));
		return;
	}

	ASSERT_EQ(0, client_ack(&self->c, F_BASIC | F_PERSIST));
	START_AGAIN();
	EXPECT_IO();
}

TEST_F(parent_ops, client_that_does_not_gets_what_the_parent_does)
{
	ASSERT_EQ(0, client_ack(&self->c, F_BASIC));
	START_AGAIN();
	if (!variant->parent.no_reset_map) {
		EXPECT_IO();
		return;
	}

	/* The device has dropped it, and vhost-vdpa does not know */
	EXPECT_NO_IO();
	ASSERT_EQ(0, client_reset(&self->c));
	ASSERT_EQ(0, client_unmap(&self->c));
	MAP_AND_START();
}

TEST_F(parent_ops, next_client_begins_with_nothing_mapped)
{
	ASSERT_EQ(0, client_ack(&self->c, F_BASIC));
	MAP_AND_START();
	client_close(&self->c);
	EXPECT_EQ(self->pins, pins_in_system());

	ASSERT_EQ(0, client_open(&self->c, &self->dev, 0));
	ASSERT_EQ(0, client_ack(&self->c, F_BASIC));
	START();
	EXPECT_NO_IO();
	ASSERT_EQ(0, client_reset(&self->c));
	MAP_AND_START();
}

/* A reset does not take the default away: open() has to */
TEST_F(parent_ops, default_map_is_out_of_reach)
{
	if (variant->parent.no_reset_map)
		SKIP(return, "not for this parent: it has no default mapping");

	self->c.iova = phys_addr(self->c.page);
	if (!self->c.iova)
		SKIP(return, "can't tell physical addresses: not root");
	ASSERT_EQ(0, client_ack(&self->c, F_BASIC));
	START();
	EXPECT_NO_IO();
}

TEST_F(parent_ops, virtio_vdpa_follows_where_there_is_a_default)
{
	ASSERT_EQ(0, client_ack(&self->c, F_BASIC));
	MAP_AND_START();
	client_close(&self->c);
	if (variant->parent.no_reset_map)
		SKIP(return, "not for this parent: it has no default mapping");

	ASSERT_VIRTIO_IO();
}

TEST(unloaded_simulator_leaves_nothing_in_debugfs)
{
	const struct vdpa_parent parent = SIM_NET(true);
	const char *why;

	if (vdpa_given.name[0])
		SKIP(return, "does not need the device that -d names");
	SKIP_IF_MISSING(vdpa_load_parent(&parent, &why), why);
	ASSERT_EQ(0, parent.ops->unload());
	EXPECT_EQ(-1, access("/sys/kernel/debug/vdpa_sim", F_OK));
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
