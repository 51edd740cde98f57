// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever can fail fails, at each place of a device's life, one after the
 * other. Afterwards nothing is pinned that should not be, the device works, or
 * says that it does not; and whoever has it next is served, or refused, but never
 * with memory of the one before. Needs fault injection (CONFIG_FAILSLAB,
 * CONFIG_FAULT_INJECTION_DEBUG_FS) and root.
 *
 * What can fail: each allocation of memory, and what the parent brings
 * (vdpa_parent_ops.faults).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

/* More than any life below comes near */
#define MAX_FAULTS 3000

#define IOVA	BIT_ULL(32)
#define BULK	(4 * 4096UL)

/* A device, and its first owner */
struct stage {
	struct vdpa_dev dev;
	struct vdpa_client c;
	void *mem;			/* BULK bytes */
	struct client_page *trap;	/* what was the page of the first owner */
	struct client_page *copy;	/* of what is in there */
	long pins;
};

FIXTURE(sweep)
{
	struct stage stage;
};

FIXTURE_VARIANT(sweep)
{
	struct vdpa_parent parent;
};

FIXTURE_VARIANT_ADD(sweep, net_set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(sweep, net_dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_VARIANT_ADD(sweep, blk_set_map)
{
	.parent = SIM_BLK(true),
};

FIXTURE_VARIANT_ADD(sweep, blk_dma_map)
{
	.parent = SIM_BLK(false),
};

FIXTURE_SETUP(sweep)
{
	struct stage *stage = &self->stage;
	const char *why;
	int r;

	stage->c.fd = -1;
	if (fault_init())
		SKIP(return, "no fault injection in this kernel, or not root");

	r = vdpa_dev_get(&stage->dev, &variant->parent, &why);
	if (!r && !stage->dev.created)
		SKIP(return, "does not upset the device that -d names");
	if (r)
		SKIP(return, "%s", why);

	stage->pins = pins_in_system();
	stage->mem = shuffled_alloc(BULK);
	stage->copy = malloc(sizeof(*stage->copy));
	if (!stage->mem || !stage->copy)
		vdpa_dev_put(&stage->dev);
	ASSERT_NE(NULL, stage->mem);
	ASSERT_NE(NULL, stage->copy);
}

FIXTURE_TEARDOWN(sweep)
{
	struct stage *stage = &self->stage;

	client_close(&stage->c);
	if (stage->trap)
		munmap(stage->trap, sizeof(*stage->trap));
	free(stage->copy);
	vdpa_dev_put(&stage->dev);
	EXPECT_EQ(stage->pins, pins_in_system());
	EXPECT_EQ(0, vdpa_violations(&stage->dev));
}

/* Two batches of which the second replaces what the first one mapped */
static int map_and_replace(struct vdpa_client *c, void *mem)
{
	return client_map(c) ?:
	       client_map_at(c, 0, IOVA, mem, BULK) ?:
	       client_batch(c, 0, true) ?:
	       client_unmap_at(c, 0, IOVA, BULK) ?:
	       client_map_at(c, 0, 2 * IOVA, mem, BULK) ?:
	       client_map_at(c, 0, IOVA, mem, BULK) ?:
	       client_batch(c, 0, false) ?:
	       client_unmap_at(c, 0, 2 * IOVA, BULK);
}

/* A device that has started works, or says that it does not */
static int start_and_work(struct vdpa_client *c)
{
	int r;

	r = client_start(c);
	if (!r)
		r = client_is_running(c) ? client_io(c, IO_TIMEOUT_MS) : -EIO;

	return r;
}

static int use_device(struct vdpa_client *c, void *mem)
{
	return client_ack(c, c->features) ?:
	       map_and_replace(c, mem) ?:
	       start_and_work(c) ?:
	       client_suspend(c) ?:
	       client_reset(c) ?:
	       start_and_work(c);
}

/* As far as it comes */
static int open_and_use(struct stage *self)
{
	int r;

	if (self->trap)
		munmap(self->trap, sizeof(*self->trap));
	self->trap = NULL;

	r = client_open(&self->c, &self->dev, 0);
	if (!r)
		r = use_device(&self->c, self->mem);

	return r;
}

/*
 * The client closes the file with everything mapped. Its page outlives it, with
 * rings that are full of requests, for a device that still finds them.
 */
static void leave(struct stage *self)
{
	struct client_page *page = self->c.page;
	unsigned int ring;

	self->c.page = NULL;
	client_close(&self->c);
	if (!page)
		return;

	memset(page->ring, 0, sizeof(page->ring));
	for (ring = 0; ring < CLIENT_RINGS; ring++)
		self->c.kick[ring] = -1;
	self->c.page = page;
	client_burst(&self->c);
	self->c.page = NULL;
	self->trap = page;
	memcpy(self->copy, page, sizeof(*page));
}

/* Whoever has had the device since did not reach the page */
#define ASSERT_TRAP_UNTOUCHED()						\
do {									\
	if (self->trap)							\
		ASSERT_EQ(0, memcmp(self->copy, self->trap,		\
				    sizeof(*self->trap)));		\
} while (0)

/*
 * Nothing fails any more, and another client finds a device that works: in its
 * own page, and not before it has mapped it.
 */
static void check_next_client(struct __test_metadata *_metadata,
			      struct stage *self)
{
	struct vdpa_client c;
	unsigned int ring;
	int r;

	ASSERT_EQ(0, client_open(&c, &self->dev, 0));
	r = client_ack(&c, c.features) ?: client_start(&c);
	for (ring = 0; !r && ring < c.nvqs; ring++)
		r = client_kick(&c, ring);
	if (!r)
		r = client_reset(&c) ?: client_map(&c) ?: start_and_work(&c);
	client_close(&c);
	ASSERT_EQ(0, r);
	ASSERT_TRAP_UNTOUCHED();
	ASSERT_EQ(self->pins, pins_in_system());
}

/* A part of a device's life, and what has to be true after it */
struct part {
	/* What leads there, in which nothing fails yet (optional) */
	int (*prepare)(struct stage *self);
	int (*run)(struct stage *self);
	/* Nothing fails any more */
	void (*check)(struct __test_metadata *_metadata,
		      struct stage *self);
};

static void sweep_source(struct __test_metadata *_metadata,
			 struct stage *self, const struct part *part,
			 const struct fault_source *source)
{
	bool failed = true;
	unsigned int nth;
	int r = 0;

	for (nth = 1; failed && nth < MAX_FAULTS; nth++) {
		if (part->prepare)
			ASSERT_EQ(0, part->prepare(self));
		ASSERT_EQ(0, source->arm(source, nth));
		r = part->run(self);
		failed = source->disarm(source);
		part->check(_metadata, self);
	}
	TH_LOG("%s%s: %u places", source->name,
	       source->always ? " from there on" : "", nth - 2);
	/* The last one got to its end */
	ASSERT_EQ(0, r);
	ASSERT_FALSE(failed);
}

static void sweep(struct __test_metadata *_metadata,
		  struct stage *self, const struct part *part)
{
	const struct fault_source *source = self->dev.parent->ops->faults;

	sweep_source(_metadata, self, part, &memory_fault);
	for (; source && source->name; source++)
		sweep_source(_metadata, self, part, source);
}

static int be_client(struct stage *self)
{
	int r = open_and_use(self);

	leave(self);

	return r;
}

TEST_F_TIMEOUT(sweep, client, 900)
{
	const struct part part = {
		.run = be_client,
		.check = check_next_client,
	};

	sweep(_metadata, &self->stage, &part);
}

/* From a client of vhost-vdpa to the drivers of virtio-vdpa, and back */
static int hand_over(struct stage *self)
{
	int r;

	leave(self);
	r = vdpa_bind(&self->dev, "virtio_vdpa") ?: virtio_io(&self->dev);

	return vdpa_bind(&self->dev, "vhost_vdpa") ?: r;
}

static void check_next_driver(struct __test_metadata *_metadata,
			      struct stage *self)
{
	ASSERT_EQ(0, vdpa_bind(&self->dev, "virtio_vdpa"));
	ASSERT_EQ(0, virtio_io(&self->dev));
	ASSERT_TRAP_UNTOUCHED();
	ASSERT_EQ(self->pins, pins_in_system());
	ASSERT_EQ(0, vdpa_bind(&self->dev, "vhost_vdpa"));
	check_next_client(_metadata, self);
}

TEST_F_TIMEOUT(sweep, hand_over, 1800)
{
	const struct part part = {
		.prepare = open_and_use,
		.run = hand_over,
		.check = check_next_driver,
	};

	sweep(_metadata, &self->stage, &part);
}

static int remove_device(struct stage *self)
{
	leave(self);

	return vdpa_dev_del(&self->dev);
}

static void check_removed(struct __test_metadata *_metadata,
			  struct stage *self)
{
	const char *why;

	/* Also if it could not be asked to go */
	vdpa_dev_del(&self->dev);
	ASSERT_EQ(self->pins, pins_in_system());
	ASSERT_TRAP_UNTOUCHED();
	ASSERT_EQ(0, vdpa_dev_get(&self->dev, self->dev.parent, &why));
	check_next_client(_metadata, self);
}

TEST_F_TIMEOUT(sweep, removal, 900)
{
	const struct part part = {
		.prepare = open_and_use,
		.run = remove_device,
		.check = check_removed,
	};

	sweep(_metadata, &self->stage, &part);
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
