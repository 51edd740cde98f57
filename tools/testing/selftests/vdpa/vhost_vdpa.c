// SPDX-License-Identifier: GPL-2.0
/*
 * How long mappings live: what a client of vhost-vdpa finds mapped, and what
 * its device reaches, after a reset of the virtio device and after the file is
 * closed. Whether the client acknowledged VHOST_BACKEND_F_IOTLB_PERSIST makes
 * the difference: tests of one that did are called persist_, of one that did
 * not compat_.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

#define BULK_SIZE	0x100000UL
#define BULK_IOVA	0x100000000UL

/* Every parent flavour in each of its address spaces */
FIXTURE(client)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	void *bulk;
	long pins;
};

FIXTURE_VARIANT(client)
{
	struct vdpa_parent parent;
	unsigned int asid;
};

FIXTURE_VARIANT_ADD(client, net_set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(client, net_set_map_asid1)
{
	.parent = SIM_NET(true),
	.asid = 1,
};

FIXTURE_VARIANT_ADD(client, net_dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_VARIANT_ADD(client, net_dma_map_asid1)
{
	.parent = SIM_NET(false),
	.asid = 1,
};

FIXTURE_VARIANT_ADD(client, blk_set_map)
{
	.parent = SIM_BLK(true),
};

FIXTURE_VARIANT_ADD(client, blk_dma_map)
{
	.parent = SIM_BLK(false),
};

FIXTURE_VARIANT_ADD(client, net_mlx5)
{
	.parent = MLX5_NET,
};

FIXTURE_VARIANT_ADD(client, net_mlx5_asid1)
{
	.parent = MLX5_NET,
	.asid = 1,
};

FIXTURE_VARIANT_ADD(client, vduse_blk)
{
	.parent = VDUSE_BLK,
};

FIXTURE_SETUP(client)
{
	const char *why;
	int r;

	self->c.fd = -1;
	r = vdpa_dev_get(&self->dev, &variant->parent, &why);
	SKIP_IF_MISSING(r, why);
	if (variant->asid >= self->dev.nas)
		SKIP(return, "the device has no such address space");

	self->pins = pins_in_system();
	self->bulk = vdpa_dev_alloc(&self->dev, BULK_SIZE);
	r = client_open(&self->c, &self->dev, variant->asid);
	if (r || !self->bulk)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
	ASSERT_NE(NULL, self->bulk);
}

FIXTURE_TEARDOWN(client)
{
	client_close(&self->c);
	/* Whatever the test did, nothing of it is still pinned */
	EXPECT_EQ(self->pins, pins_in_system());
	vdpa_dev_put(&self->dev);
	EXPECT_NO_VIOLATIONS();
}

#define ACK_PERSIST()							\
do {									\
	if (!(self->c.features & F_PERSIST))				\
		SKIP(return, "the parent does not offer IOTLB_PERSIST");\
	ASSERT_EQ(0, client_ack(&self->c, F_BASIC | F_PERSIST));	\
} while (0)

#define ACK_COMPAT()							\
	ASSERT_EQ(0, client_ack(&self->c, F_BASIC))

/* Only some parents have a past of dropping mappings in a reset */
#define COMPAT_RESET_DROPS()						\
do {									\
	if (self->dev.keeps)						\
		SKIP(return, "not for this parent: its reset never dropped mappings"); \
} while (0)

/* The page that the device works in, and something with many pages */
#define MAP_ALL()							\
do {									\
	ASSERT_EQ(0, client_batch(&self->c, variant->asid, true));	\
	ASSERT_EQ(0, client_map(&self->c));				\
	ASSERT_EQ(0, client_map_at(&self->c, variant->asid, BULK_IOVA,	\
				   self->bulk, BULK_SIZE));		\
	ASSERT_EQ(0, client_batch(&self->c, variant->asid, false));	\
} while (0)

#define UNMAP_ALL()							\
do {									\
	ASSERT_EQ(0, client_batch(&self->c, variant->asid, true));	\
	ASSERT_EQ(0, client_unmap(&self->c));				\
	ASSERT_EQ(0, client_unmap_at(&self->c, variant->asid, BULK_IOVA,\
				     BULK_SIZE));			\
	ASSERT_EQ(0, client_batch(&self->c, variant->asid, false));	\
} while (0)

/*
 * vhost-vdpa still has what MAP_ALL() mapped: the pages are charged to the
 * process, and it refuses to have something else mapped there.
 */
#define EXPECT_ALL_MAPPED()						\
do {									\
	EXPECT_EQ(self->dev.use_va ? 0 :				\
		  1 + (long)BULK_SIZE / getpagesize(),			\
		  pins_of_process());					\
	EXPECT_REFUSED(-EEXIST, client_map(&self->c));			\
	EXPECT_REFUSED(-EEXIST,						\
		       client_map_at(&self->c, variant->asid,		\
				     BULK_IOVA + BULK_SIZE - getpagesize(),\
				     self->bulk, getpagesize()));	\
} while (0)

/*
 * Nothing is reachable by default either. What is tried is the client's own
 * page at its physical address, so that a kernel that fails does no harm.
 */
#define ASSERT_DEFAULT_OUT_OF_REACH()					\
do {									\
	uint64_t iova = self->c.iova;					\
									\
	self->c.iova = phys_addr(self->c.page);				\
	if (!self->c.iova)						\
		SKIP(return, "can't tell physical addresses: not root");\
	START();							\
	EXPECT_NO_IO();							\
	ASSERT_EQ(0, client_reset(&self->c));				\
	self->c.iova = iova;						\
} while (0)

TEST_F(client, moves_data)
{
	ACK_COMPAT();
	MAP_ALL();
	START();
	EXPECT_IO();
	EXPECT_ALL_MAPPED();
}

TEST_F(client, persist_reset_keeps_mappings)
{
	ACK_PERSIST();
	MAP_ALL();
	START();
	EXPECT_IO();

	ASSERT_EQ(0, client_reset(&self->c));
	EXPECT_ALL_MAPPED();

	START();
	EXPECT_IO();
}

TEST_F_TIMEOUT(client, persist_1000_resets_under_traffic, 300)
{
	unsigned int i;

	ACK_PERSIST();
	MAP_ALL();
	for (i = 0; i < vdpa_rounds(1000); i++) {
		START();
		ASSERT_EQ(0, client_io(&self->c, IO_TIMEOUT_MS)) {
			TH_LOG("after %u resets", i);
		}
		ASSERT_EQ(0, client_burst(&self->c));
		ASSERT_EQ(0, client_reset(&self->c));
	}
	EXPECT_ALL_MAPPED();
}

TEST_F(client, persist_unmap_takes_effect)
{
	ACK_PERSIST();
	MAP_ALL();
	START();
	EXPECT_IO();
	ASSERT_EQ(0, client_reset(&self->c));

	UNMAP_ALL();
	EXPECT_EQ(0, pins_of_process());
	START();
	EXPECT_NO_IO();
	ASSERT_EQ(0, client_reset(&self->c));

	MAP_ALL();
	START();
	EXPECT_IO();
}

TEST_F(client, compat_reset_cuts_the_device_off)
{
	COMPAT_RESET_DROPS();
	ACK_COMPAT();
	MAP_ALL();
	START();
	EXPECT_IO();

	/* The kernel has the mappings and the device does not */
	ASSERT_EQ(0, client_reset(&self->c));
	EXPECT_ALL_MAPPED();
	START();
	EXPECT_NO_IO();

	/* What was mapped can be unmapped, and mapped again */
	ASSERT_EQ(0, client_reset(&self->c));
	UNMAP_ALL();
	EXPECT_EQ(0, pins_of_process());
	MAP_ALL();
	START();
	EXPECT_IO();
}

TEST_F(client, compat_reset_keeps_what_it_always_kept)
{
	if (!self->dev.keeps)
		SKIP(return, "not for this parent: its reset dropped mappings");
	ACK_COMPAT();
	MAP_ALL();
	START();
	EXPECT_IO();
	ASSERT_EQ(0, client_reset(&self->c));
	EXPECT_ALL_MAPPED();
	START();
	EXPECT_IO();
}

TEST_F(client, compat_unmap_reset_remap)
{
	int i;

	ACK_COMPAT();
	for (i = 0; i < 10; i++) {
		MAP_ALL();
		START();
		EXPECT_IO();
		UNMAP_ALL();
		EXPECT_EQ(0, pins_of_process());
		ASSERT_EQ(0, client_reset(&self->c));
	}
}

TEST_F(client, signals_after_each_reset)
{
	int i;

	ACK_COMPAT();
	ASSERT_EQ(0, client_want_calls(&self->c));
	for (i = 0; i < 10; i++) {
		MAP_ALL();
		START();
		EXPECT_IO();
		ASSERT_EQ(0, client_wait_call(&self->c, IO_TIMEOUT_MS)) {
			TH_LOG("after %d resets", i);
		}
		UNMAP_ALL();
		ASSERT_EQ(0, client_reset(&self->c));
		/* What was on its way is not of the next start */
		while (!client_wait_call(&self->c, 0))
			;
	}
}

TEST_F(client, signals_go_to_the_newest_eventfd)
{
	int old[CLIENT_RINGS];
	eventfd_t n;
	unsigned int i;

	ACK_COMPAT();
	ASSERT_EQ(0, client_want_calls(&self->c));
	MAP_ALL();
	START();
	EXPECT_IO();
	ASSERT_EQ(0, client_wait_call(&self->c, IO_TIMEOUT_MS));

	memcpy(old, self->c.call, sizeof(old));
	ASSERT_EQ(0, client_want_calls(&self->c));
	for (i = 0; i < self->c.nvqs; i++) {
		ASSERT_EQ(0, client_set_call(&self->c, i));
		eventfd_read(old[i], &n);
	}
	EXPECT_IO();
	EXPECT_EQ(0, client_wait_call(&self->c, IO_TIMEOUT_MS));
	for (i = 0; i < self->c.nvqs; i++) {
		EXPECT_EQ(-1, eventfd_read(old[i], &n));
		close(old[i]);
	}
}

TEST_F(client, does_not_write_what_it_may_only_read)
{
	static const uint8_t nothing[CLIENT_BUF_SIZE];
	const uint64_t iova = 16ULL << 20;
	const size_t size = sizeof(*self->c.page);
	void *page;

	if (vdpa_given.no_loop && self->c.device_id == VIRTIO_ID_NET)
		SKIP(return, "the device writes nothing");
	page = vdpa_dev_alloc(&self->dev, size);
	ASSERT_NE(NULL, page);
	ACK_COMPAT();
	MAP_ALL();
	ASSERT_EQ(0, client_map_at(&self->c, variant->asid, iova, page, size));
	START();
	EXPECT_IO();
	self->c.in_iova = iova;
	EXPECT_EQ(-EBADMSG, client_io(&self->c, IO_TIMEOUT_MS));
	EXPECT_NE(0, memcmp(nothing, page, sizeof(nothing)));

	ASSERT_EQ(0, client_unmap_at(&self->c, variant->asid, iova, size));
	memset(page, 0, size);
	ASSERT_EQ(0, client_map_perm(&self->c, variant->asid, iova, page, size, VHOST_ACCESS_RO));
	EXPECT_NE(0, client_io(&self->c, client_window(&self->c)));
	EXPECT_EQ(0, memcmp(nothing, page, sizeof(nothing)));

	self->c.in_iova = 0;
	ASSERT_EQ(0, client_reset(&self->c));
	ASSERT_EQ(0, client_unmap_at(&self->c, variant->asid, iova, size));
	munmap(page, size);
}

TEST_F(client, silent_client_is_compat)
{
	COMPAT_RESET_DROPS();
	/* It cannot name an address space, which is a feature, too */
	self->c.asid = 0;
	ASSERT_EQ(0, client_map(&self->c));
	START();
	EXPECT_IO();
	ASSERT_EQ(0, client_reset(&self->c));
	START();
	EXPECT_NO_IO();
}

TEST_F(client, next_owner_negotiates_anew)
{
	COMPAT_RESET_DROPS();
	ACK_PERSIST();
	MAP_ALL();
	client_close(&self->c);

	ASSERT_EQ(0, client_open(&self->c, &self->dev, variant->asid));
	ACK_COMPAT();
	MAP_ALL();
	START();
	EXPECT_IO();
	ASSERT_EQ(0, client_reset(&self->c));
	START();
	EXPECT_NO_IO();
}

TEST_F(client, bad_ack_changes_nothing)
{
	ACK_PERSIST();
	MAP_ALL();

	/* 63 is not a feature */
	EXPECT_EQ(-EOPNOTSUPP, client_ack(&self->c, F_BASIC | BIT_ULL(63)));
	EXPECT_EQ(-EOPNOTSUPP, client_ack(&self->c, BIT_ULL(63)));

	ASSERT_EQ(0, client_reset(&self->c));
	START();
	EXPECT_IO();
}

TEST_F(client, bad_persist_ack_changes_nothing)
{
	uint64_t bad = F_PERSIST;

	COMPAT_RESET_DROPS();
	ACK_COMPAT();
	if (self->c.features & F_PERSIST)
		bad |= BIT_ULL(63);
	ASSERT_EQ(-EOPNOTSUPP, client_ack(&self->c, bad));
	MAP_ALL();
	START();
	EXPECT_IO();
	ASSERT_EQ(0, client_reset(&self->c));
	START();
	EXPECT_NO_IO();
}

TEST_F(client, descriptor_groups_are_offered_or_refused)
{
	int group = client_desc_group(&self->c, 0);

	if (group == -ENOTTY)
		SKIP(return, "the kernel knows of no descriptor groups");
	ACK_COMPAT();
	if (self->c.features & F_DESC_ASID) {
		EXPECT_LE(0, group);
		EXPECT_EQ(-EINVAL, client_ack(&self->c, (F_BASIC | F_DESC_ASID) &
				  ~BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID)));
	} else {
		EXPECT_EQ(-EOPNOTSUPP, group);
		EXPECT_EQ(-EOPNOTSUPP, client_ack(&self->c, F_BASIC | F_DESC_ASID));
	}

	/* What was acknowledged before counts, an address space's number, too */
	MAP_ALL();
	START();
	EXPECT_IO();
}

TEST_F(client, default_map_is_out_of_reach)
{
	ASSERT_DEFAULT_OUT_OF_REACH();
	ACK_COMPAT();
	ASSERT_DEFAULT_OUT_OF_REACH();
	MAP_ALL();
	ASSERT_EQ(0, client_reset(&self->c));
	ASSERT_DEFAULT_OUT_OF_REACH();
	UNMAP_ALL();
	ASSERT_DEFAULT_OUT_OF_REACH();
}

TEST_F(client, persist_default_map_is_out_of_reach)
{
	ACK_PERSIST();
	ASSERT_DEFAULT_OUT_OF_REACH();
	MAP_ALL();
	ASSERT_DEFAULT_OUT_OF_REACH();
	UNMAP_ALL();
	ASSERT_DEFAULT_OUT_OF_REACH();
}

TEST_F(client, close_takes_all_away)
{
	unsigned int round;

	for (round = 0; round < 2; round++) {
		/* Mapped where it would be by default, to be looked for there */
		self->c.iova = phys_addr(self->c.page);
		if (!self->c.iova)
			SKIP(return, "can't tell physical addresses: not root");
		if (round)
			ACK_PERSIST();
		else
			ACK_COMPAT();
		MAP_ALL();
		START();
		EXPECT_IO();
		ASSERT_EQ(0, client_burst(&self->c));
		client_close(&self->c);
		EXPECT_EQ(0, pins_of_process());
		EXPECT_EQ(self->pins, pins_in_system());

		ASSERT_EQ(0, client_open(&self->c, &self->dev, variant->asid));
		ASSERT_DEFAULT_OUT_OF_REACH();
	}
}

TEST_F(client, kill_takes_all_away)
{
	pid_t pid;

	client_close(&self->c);
	pid = client_fork(&self->dev, variant->asid);
	ASSERT_LT(0, pid);
	if (!self->dev.use_va && self->dev.created)
		EXPECT_LT(self->pins, pins_in_system());
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_EQ(self->pins, pins_in_system());

	ASSERT_EQ(0, client_open(&self->c, &self->dev, variant->asid));
	ASSERT_DEFAULT_OUT_OF_REACH();
}

TEST_F(client, open_is_exclusive)
{
	struct vdpa_client c;

	ACK_COMPAT();
	MAP_ALL();
	START();
	EXPECT_EQ(-EBUSY, client_open(&c, &self->dev, 0));
	/* The second one did not get as far as a reset */
	EXPECT_IO();
}

TEST_F(client, open_and_close)
{
	int i;

	for (i = 0; i < 20; i++) {
		client_close(&self->c);
		ASSERT_EQ(0, client_open(&self->c, &self->dev, variant->asid));
	}
}

TEST_F(client, device_deleted_while_open)
{
	int status;
	pid_t pid;

	if (!self->dev.created)
		SKIP(return, "does not delete the device that -d names");

	ASSERT_EQ(0, client_ack(&self->c, self->c.features));
	MAP_ALL();
	START();
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(self->c.fd);
		_exit(vdpa_dev_del(&self->dev) ? 1 : 0);
	}

	/* It waits for the file to be closed, and does not disturb meanwhile */
	EXPECT_EQ(0, await_wait(pid, "vhost_vdpa_"));
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	EXPECT_IO();
	if (self->c.features & F_PERSIST) {
		ASSERT_EQ(0, client_reset(&self->c));
		START();
		EXPECT_IO();
	}

	client_close(&self->c);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	self->dev.created = false;
}

/* Two address spaces: data in 0, the control virtqueue in 1 */
FIXTURE(spaces)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	long pins;
};

FIXTURE_VARIANT(spaces)
{
	struct vdpa_parent parent;
};

FIXTURE_VARIANT_ADD(spaces, set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(spaces, dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_VARIANT_ADD(spaces, mlx5)
{
	.parent = MLX5_NET,
};

FIXTURE_SETUP(spaces)
{
	const char *why;
	int r;

	self->c.fd = -1;
	r = vdpa_dev_get(&self->dev, &variant->parent, &why);
	SKIP_IF_MISSING(r, why);
	if (self->dev.nas < 2)
		SKIP(return, "the device has one address space");

	self->pins = pins_in_system();
	r = client_open(&self->c, &self->dev, 0);
	if (r)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
}

FIXTURE_TEARDOWN(spaces)
{
	client_close(&self->c);
	EXPECT_EQ(self->pins, pins_in_system());
	vdpa_dev_put(&self->dev);
	EXPECT_NO_VIOLATIONS();
}

#define MAP_PAGE(_asid)							\
	ASSERT_EQ(0, client_map_at(&self->c, _asid, self->c.iova,	\
				   self->c.page, sizeof(*self->c.page)))

#define UNMAP_PAGE(_asid)						\
	ASSERT_EQ(0, client_unmap_at(&self->c, _asid, self->c.iova,	\
				     sizeof(*self->c.page)))

#define START_CTRL_IN(_asid)						\
do {									\
	ASSERT_EQ(0, client_set_group_asid(&self->c, 2, _asid));	\
	START();							\
} while (0)

#define EXPECT_CTRL()							\
	EXPECT_EQ(0, client_ctrl(&self->c, IO_TIMEOUT_MS))

#define EXPECT_NO_CTRL()						\
	EXPECT_EQ(-ETIMEDOUT, client_ctrl(&self->c, NO_IO_MS))

TEST_F(spaces, have_mappings_of_their_own)
{
	ACK_COMPAT();
	MAP_PAGE(0);
	START_CTRL_IN(1);
	EXPECT_IO();
	EXPECT_NO_CTRL();
	ASSERT_EQ(0, client_reset(&self->c));

	UNMAP_PAGE(0);
	MAP_PAGE(1);
	START_CTRL_IN(1);
	EXPECT_CTRL();
	EXPECT_NO_IO();
}

TEST_F(spaces, persist_reset_keeps_both)
{
	ACK_PERSIST();
	MAP_PAGE(0);
	MAP_PAGE(1);
	START_CTRL_IN(1);
	EXPECT_IO();
	EXPECT_CTRL();

	ASSERT_EQ(0, client_reset(&self->c));
	EXPECT_EQ(self->dev.use_va ? 0 : 2, pins_of_process());
	START_CTRL_IN(1);
	EXPECT_IO();
	EXPECT_CTRL();
}

TEST_F(spaces, compat_reset_drops_both)
{
	ACK_COMPAT();
	MAP_PAGE(0);
	MAP_PAGE(1);
	ASSERT_EQ(0, client_reset(&self->c));
	EXPECT_EQ(self->dev.use_va ? 0 : 2, pins_of_process());
	START_CTRL_IN(1);
	EXPECT_NO_IO();
	EXPECT_NO_CTRL();
}

TEST_F(spaces, persist_unmapping_one_leaves_the_other)
{
	ACK_PERSIST();
	MAP_PAGE(0);
	MAP_PAGE(1);
	ASSERT_EQ(0, client_reset(&self->c));
	UNMAP_PAGE(0);
	START_CTRL_IN(1);
	EXPECT_CTRL();
	EXPECT_NO_IO();
	ASSERT_EQ(0, client_reset(&self->c));

	MAP_PAGE(0);
	UNMAP_PAGE(1);
	START_CTRL_IN(1);
	EXPECT_IO();
	EXPECT_NO_CTRL();
}

/* A group's address space is virtio state, a mapping is not */
TEST_F(spaces, reset_returns_groups_to_space_0)
{
	ACK_PERSIST();
	MAP_PAGE(1);
	START_CTRL_IN(1);
	EXPECT_CTRL();
	ASSERT_EQ(0, client_reset(&self->c));

	START();
	EXPECT_NO_CTRL();
	ASSERT_EQ(0, client_reset(&self->c));

	START_CTRL_IN(1);
	EXPECT_CTRL();
}

TEST_F(spaces, groups_stay_where_they_are_while_the_device_runs)
{
	ACK_COMPAT();
	MAP_PAGE(0);
	START();
	EXPECT_EQ(-EBUSY, client_set_group_asid(&self->c, 2, 1));
	EXPECT_IO();
	EXPECT_CTRL();
	ASSERT_EQ(0, client_reset(&self->c));
	EXPECT_EQ(0, client_set_group_asid(&self->c, 2, 1));
}

/* A command for the control virtqueue, @len bytes at @iova. Where its answer will be. */
static const uint8_t *post_command(struct vdpa_client *c, unsigned int slot, uint64_t iova,
				   uint32_t len)
{
	uint8_t *ack = &c->page->ctrl[sizeof(c->page->ctrl) - 1 - slot];
	const struct client_part parts[] = {
		{ iova, len, false },
		{ client_iova(c, ack), sizeof(*ack), true },
	};

	*ack = 0xff;
	client_post(c, 2, slot, parts, ARRAY_SIZE(parts));

	return ack;
}

#define EXPECT_ANSWERS()						\
do {									\
	ASSERT_EQ(0, client_kick(&self->c, 2));				\
	EXPECT_EQ(0, client_wait(&self->c, 2, IO_TIMEOUT_MS));		\
} while (0)

TEST_F(spaces, bad_command_costs_no_more_than_a_command)
{
	const uint8_t *ack;

	ACK_COMPAT();
	MAP_PAGE(0);
	START();
	ack = post_command(&self->c, 2, self->c.iova - getpagesize(),
			   sizeof(struct virtio_net_ctrl_hdr));
	EXPECT_ANSWERS();
	EXPECT_EQ(VIRTIO_NET_ERR, *ack);
	EXPECT_CTRL();
}

TEST_F(spaces, unknown_command_fails_after_any_other)
{
	struct virtio_net_ctrl_hdr hdr = { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET };
	uint8_t *known = self->c.page->ctrl, *unknown = known + 16;
	const uint8_t *first, *second;

	ACK_COMPAT();
	MAP_PAGE(0);
	START();
	memcpy(known, &hdr, sizeof(hdr));
	memcpy(known + sizeof(hdr), self->c.mac, sizeof(self->c.mac));
	memset(unknown, 0xff, sizeof(hdr));
	first = post_command(&self->c, 0, client_iova(&self->c, known),
			     sizeof(hdr) + sizeof(self->c.mac));
	second = post_command(&self->c, 2, client_iova(&self->c, unknown), sizeof(hdr));
	EXPECT_ANSWERS();
	EXPECT_EQ(VIRTIO_NET_OK, *first);
	EXPECT_EQ(VIRTIO_NET_ERR, *second);
}

TEST_F(spaces, default_map_is_out_of_reach_in_the_unused_one)
{
	ACK_COMPAT();
	self->c.iova = phys_addr(self->c.page);
	if (!self->c.iova)
		SKIP(return, "can't tell physical addresses: not root");
	MAP_PAGE(0);
	START_CTRL_IN(1);
	EXPECT_IO();
	EXPECT_NO_CTRL();
}

/*
 * Rings in one address space, and what they point at in the other one. Each has
 * an address of its own, where there is nothing in the other space.
 */
FIXTURE(rings)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	long pins;
};

FIXTURE_VARIANT(rings)
{
	struct vdpa_parent parent;
	unsigned int asid;	/* of the buffers */
};

FIXTURE_VARIANT_ADD(rings, set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(rings, set_map_asid0)
{
	.parent = SIM_NET(true),
	.asid = 1,
};

FIXTURE_VARIANT_ADD(rings, dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_VARIANT_ADD(rings, dma_map_asid0)
{
	.parent = SIM_NET(false),
	.asid = 1,
};

FIXTURE_VARIANT_ADD(rings, mlx5)
{
	.parent = MLX5_NET_RINGS(false),
};

FIXTURE_VARIANT_ADD(rings, mlx5_asid0)
{
	.parent = MLX5_NET_RINGS(false),
	.asid = 1,
};

FIXTURE_VARIANT_ADD(rings, mlx5_resumable)
{
	.parent = MLX5_NET_RINGS(true),
};

FIXTURE_VARIANT_ADD(rings, mlx5_resumable_asid0)
{
	.parent = MLX5_NET_RINGS(true),
	.asid = 1,
};

FIXTURE_SETUP(rings)
{
	const char *why;
	int r;

	self->c.fd = -1;
	r = vdpa_dev_get(&self->dev, &variant->parent, &why);
	SKIP_IF_MISSING(r, why);

	self->pins = pins_in_system();
	r = client_open(&self->c, &self->dev, variant->asid);
	if (!r && (self->dev.nas < 2 || !(self->c.features & F_DESC_ASID))) {
		client_close(&self->c);
		vdpa_dev_put(&self->dev);
		SKIP(return, "the parent cannot have rings apart");
	}
	if (!r)
		r = client_ack(&self->c, F_BASIC | F_DESC_ASID |
			       (self->c.features & F_PERSIST));
	self->c.ring_asid = !variant->asid;
	self->c.ring_iova = self->c.iova + 16 * sizeof(*self->c.page);
	if (r)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
}

FIXTURE_TEARDOWN(rings)
{
	client_close(&self->c);
	EXPECT_EQ(self->pins, pins_in_system());
	vdpa_dev_put(&self->dev);
	EXPECT_NO_VIOLATIONS();
}

#define MAP_RINGS_IN(_asid)						\
	ASSERT_EQ(0, client_map_at(&self->c, _asid, self->c.ring_iova,	\
				   self->c.page, sizeof(*self->c.page)))

#define UNMAP_RINGS()							\
	ASSERT_EQ(0, client_unmap_at(&self->c, self->c.ring_asid,	\
				     self->c.ring_iova,			\
				     sizeof(*self->c.page)))

#define START_WITH_BOTH()						\
do {									\
	MAP_RINGS_IN(self->c.ring_asid);				\
	MAP_PAGE(self->c.asid);						\
	START();							\
	EXPECT_IO();							\
} while (0)

/* The device finds its rings, and not what they point at */
#define EXPECT_NO_DATA()						\
do {									\
	static const uint8_t zeroes[CLIENT_BUF_SIZE];			\
									\
	EXPECT_EQ(-ETIMEDOUT,						\
		  client_io(&self->c, client_window(&self->c)));	\
	if (variant->parent.ops == &sim_ops)				\
		EXPECT_EQ(0, client_wait(&self->c, 1, IO_TIMEOUT_MS));	\
	EXPECT_EQ(0, memcmp(zeroes, self->c.page->in, sizeof(zeroes)));	\
} while (0)

TEST_F(rings, have_a_group_of_their_own)
{
	int ctrl = client_group(&self->c, 2);
	uint32_t groups;
	int i;

	ASSERT_EQ(0, ioctl(self->c.fd, VHOST_VDPA_GET_GROUP_NUM, &groups));
	for (i = 0; i < 2; i++) {
		EXPECT_LE(0, client_desc_group(&self->c, i));
		EXPECT_GT((int)groups, client_desc_group(&self->c, i));
		EXPECT_NE(client_group(&self->c, i),
			  client_desc_group(&self->c, i));
		EXPECT_NE(ctrl, client_desc_group(&self->c, i));
	}
	EXPECT_EQ(ctrl, client_desc_group(&self->c, 2));
	EXPECT_EQ(-ENOBUFS, client_desc_group(&self->c, UINT16_MAX));
}

TEST_F(rings, are_where_they_are_bound)
{
	START_WITH_BOTH();
}

TEST_F(rings, are_nowhere_else)
{
	MAP_RINGS_IN(self->c.asid);
	MAP_PAGE(self->c.asid);
	START();
	EXPECT_NO_IO();
}

TEST_F(rings, buffers_are_not_with_them)
{
	MAP_RINGS_IN(self->c.ring_asid);
	MAP_PAGE(self->c.ring_asid);
	START();
	EXPECT_NO_DATA();
}

/* The simulator follows an indirect table without being asked to negotiate it */
TEST_F(rings, indirect_tables_are_not_with_them)
{
	const size_t hdr = sizeof(struct virtio_net_hdr_v1);
	struct client_page *p = self->c.page;
	struct vring_desc *table = (void *)p->ctrl;
	struct vring_desc *desc = p->ring[1].desc;

	if (variant->parent.ops != &sim_ops)
		SKIP(return, "not for this parent: it offers no indirect tables");
	START_WITH_BOTH();
	client_fill_frame(&self->c, p->out + hdr, CLIENT_BUF_SIZE - hdr);
	client_post_buffer(&self->c, 0);
	/* As client_post_frame() does it, but whole before it is seen */
	*table = (struct vring_desc) {
		.addr = client_iova(&self->c, p->out), .len = CLIENT_BUF_SIZE,
	};
	desc->addr = client_iova(&self->c, table);
	desc->len = sizeof(*table);
	desc->flags = VRING_DESC_F_INDIRECT;
	p->ring[1].avail.ring[p->ring[1].avail.idx % CLIENT_RING_NUM] = 0;
	__atomic_store_n(&p->ring[1].avail.idx, p->ring[1].avail.idx + 1, __ATOMIC_RELEASE);
	ASSERT_EQ(0, client_kick(&self->c, 1));
	EXPECT_EQ(0, client_wait(&self->c, 0, IO_TIMEOUT_MS));
	EXPECT_EQ(0, memcmp(p->out + hdr, p->in + hdr, CLIENT_BUF_SIZE - hdr));
}

/*
 * The one address is a page of rings in the one space, and another page in the
 * other, so that each access in the wrong space finds something else.
 */
TEST_F(rings, share_an_address_with_buffers)
{
	const size_t hdr = sizeof(struct virtio_net_hdr_v1);
	const size_t len = CLIENT_BUF_SIZE - hdr;
	static const uint8_t zeroes[CLIENT_BUF_SIZE];
	struct client_page *buffers;

	buffers = mmap(NULL, sizeof(*buffers), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, buffers);
	self->c.ring_iova = self->c.iova;
	MAP_RINGS_IN(self->c.ring_asid);
	ASSERT_EQ(0, client_map_at(&self->c, self->c.asid, self->c.iova, buffers,
				   sizeof(*buffers)));
	START();
	client_fill_frame(&self->c, buffers->out + hdr, len);
	client_post_buffer(&self->c, 0);
	client_post_frame(&self->c, 0);
	ASSERT_EQ(0, client_kick(&self->c, 1));
	EXPECT_EQ(0, client_wait(&self->c, 0, IO_TIMEOUT_MS));
	EXPECT_EQ(0, memcmp(buffers->out + hdr, buffers->in + hdr, len));
	EXPECT_EQ(0, memcmp(zeroes, self->c.page->in, sizeof(zeroes)));
}

/* The device has no means to tell its client that a buffer was used */
TEST_F(rings, are_not_written_without_permission)
{
	static const struct vring_used_elem nothing[CLIENT_RING_NUM];
	typeof(*self->c.page->ring) *rings;
	unsigned int i;

	ASSERT_EQ(0, client_map_perm(&self->c, self->c.ring_asid,
				     self->c.ring_iova, self->c.page,
				     sizeof(*self->c.page), VHOST_ACCESS_RO));
	MAP_PAGE(self->c.asid);
	START();
	rings = self->c.page->ring;
	EXPECT_EQ(-ETIMEDOUT, client_io(&self->c, client_window(&self->c)));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, rings[i].used.idx);
		EXPECT_EQ(0, memcmp(nothing, rings[i].used.ring, sizeof(nothing)));
	}
}

TEST_F(rings, are_not_read_without_permission)
{
	ASSERT_EQ(0, client_map_perm(&self->c, self->c.ring_asid,
				     self->c.ring_iova, self->c.page,
				     sizeof(*self->c.page), VHOST_ACCESS_WO));
	MAP_PAGE(self->c.asid);
	START();
	EXPECT_NO_IO();
}

TEST_F(rings, go_with_their_group_unless_told_not_to)
{
	ASSERT_EQ(0, client_ack(&self->c, F_BASIC));
	self->c.asid = 1;
	MAP_RINGS_IN(1);
	MAP_PAGE(1);
	START();
	EXPECT_IO();
}

TEST_F(rings, persist_reset_keeps_both)
{
	if (!(self->c.features & F_PERSIST))
		SKIP(return, "the parent does not offer IOTLB_PERSIST");
	START_WITH_BOTH();
	ASSERT_EQ(0, client_reset(&self->c));
	EXPECT_EQ(self->dev.use_va ? 0 : 2, pins_of_process());
	START();
	EXPECT_IO();
}

TEST_F(rings, persist_reset_returns_them_to_space_0)
{
	if (!(self->c.features & F_PERSIST))
		SKIP(return, "the parent does not offer IOTLB_PERSIST");
	START_WITH_BOTH();
	ASSERT_EQ(0, client_reset(&self->c));

	/* Nothing is bound by a client that has all in space 0 */
	self->c.asid = 0;
	self->c.ring_asid = 0;
	START();
	if (variant->asid)
		EXPECT_NO_DATA();
	else
		EXPECT_NO_IO();
	ASSERT_EQ(0, client_reset(&self->c));

	self->c.asid = variant->asid;
	self->c.ring_asid = !variant->asid;
	START();
	EXPECT_IO();
}

TEST_F(rings, close_returns_them_to_space_0)
{
	START_WITH_BOTH();
	client_close(&self->c);

	ASSERT_EQ(0, client_open(&self->c, &self->dev, 0));
	ACK_COMPAT();
	MAP_AND_START();
}

TEST_F(rings, unmapping_takes_them_away)
{
	START_WITH_BOTH();
	UNMAP_RINGS();
	EXPECT_EQ(1, pins_of_process());
	EXPECT_NO_IO();
	ASSERT_EQ(0, client_reset(&self->c));

	MAP_RINGS_IN(self->c.ring_asid);
	if (!(self->c.features & F_PERSIST))
		return;
	START();
	EXPECT_IO();
}

TEST_F(rings, unmapping_buffers_leaves_them)
{
	START_WITH_BOTH();
	UNMAP_PAGE(self->c.asid);
	EXPECT_EQ(1, pins_of_process());
	EXPECT_NO_DATA();
	ASSERT_EQ(0, client_reset(&self->c));

	MAP_PAGE(self->c.asid);
	if (!(self->c.features & F_PERSIST))
		return;
	START();
	EXPECT_IO();
}

TEST_F(rings, changes_of_one_space_leave_the_other)
{
	const uint64_t iova = self->c.ring_iova + 16 * sizeof(*self->c.page);
	unsigned int asid, i;

	START_WITH_BOTH();
	for (i = 0; i < 10; i++) {
		asid = i & 1;
		ASSERT_EQ(0, client_map_at(&self->c, asid, iova, self->c.page,
					   sizeof(*self->c.page)));
		EXPECT_IO();
		ASSERT_EQ(0, client_unmap_at(&self->c, asid, iova,
					     sizeof(*self->c.page)));
		EXPECT_IO();
	}
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
