// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever can fail fails, at each place of each part of a device's life, one
 * after the other. Then nothing is pinned that should not be, the device works
 * or says that it does not; and whoever has it next is served, or refused, but
 * never with memory of the one before.
 *
 * What can fail is each allocation of memory, which needs fault injection
 * (CONFIG_FAILSLAB, CONFIG_FAULT_INJECTION_DEBUG_FS), and what the parent brings:
 * operations of the simulator, commands to mlx5's firmware, messages to a VDUSE
 * daemon (vdpa_parent_ops.faults). Needs root.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

/* More than any part below comes near */
#define MAX_FAULTS 3000
/* The first so many places are all tried with -q, then ever fewer of them */
#define QUICK_FAULTS 10

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

/* The parts of a life */

static int open_device(struct stage *s)
{
	return client_open(&s->c, &s->dev, 0) ?:
	       client_ack(&s->c, s->c.features);
}

static int map(struct stage *s)
{
	return client_map(&s->c) ?:
	       client_map_at(&s->c, 0, IOVA, s->mem, BULK);
}

/* A device that has started works, or says that it does not */
static int start(struct stage *s)
{
	int r = client_start(&s->c);

	if (!r)
		r = client_is_running(&s->c) ?
		    client_io(&s->c, IO_TIMEOUT_MS) : -EIO;

	return r;
}

static int open_and_map(struct stage *s)
{
	return open_device(s) ?: map(s);
}

static int open_and_start(struct stage *s)
{
	return open_and_map(s) ?: start(s);
}

static int plug(struct stage *s)
{
	return client_map_at(&s->c, 0, 2 * IOVA, s->mem, BULK) ?:
	       client_io(&s->c, IO_TIMEOUT_MS) ?:
	       client_unmap_at(&s->c, 0, 2 * IOVA, BULK);
}

static int batch(struct stage *s)
{
	return client_batch(&s->c, 0, true) ?:
	       client_unmap_at(&s->c, 0, IOVA, BULK) ?:
	       client_map_at(&s->c, 0, 2 * IOVA, s->mem, BULK) ?:
	       client_map_at(&s->c, 0, IOVA, s->mem, BULK) ?:
	       client_batch(&s->c, 0, false) ?:
	       client_io(&s->c, IO_TIMEOUT_MS);
}

static int reset(struct stage *s)
{
	return client_reset(&s->c);
}

static int suspend(struct stage *s)
{
	int r = client_suspend(&s->c);

	return r == -EOPNOTSUPP ? 0 : r;
}

/*
 * The client closes the file with everything mapped. Its page outlives it, with
 * rings that are full of requests, for a device that still finds them.
 */
static int leave(struct stage *s)
{
	struct client_page *page = s->c.page;
	unsigned int ring;

	s->c.page = NULL;
	client_close(&s->c);
	if (!page)
		return 0;

	memset(page->ring, 0, sizeof(page->ring));
	for (ring = 0; ring < CLIENT_RINGS; ring++)
		s->c.kick[ring] = -1;
	s->c.page = page;
	client_burst(&s->c);
	s->c.page = NULL;
	s->trap = page;
	memcpy(s->copy, page, sizeof(*page));

	return 0;
}

static int leave_to_virtio(struct stage *s)
{
	leave(s);

	return vdpa_bind(&s->dev, "virtio_vdpa") ?: virtio_io(&s->dev);
}

static int leave_running_to_virtio(struct stage *s)
{
	return open_and_start(s) ?: leave_to_virtio(s);
}

static int take_from_virtio(struct stage *s)
{
	return vdpa_bind(&s->dev, "vhost_vdpa") ?: open_device(s);
}

static int remove_device(struct stage *s)
{
	leave(s);

	return vdpa_dev_del(&s->dev);
}

static const struct part {
	const char *name;
	/* What leads there, in which nothing fails yet (optional) */
	int (*prepare)(struct stage *s);
	int (*run)(struct stage *s);
	bool removes;		/* there may be no device any more */
	bool virtio;		/* virtio's drivers hear of no failure to start */
} parts[] = {
	{ .name = "open", .run = open_device },
	{ .name = "map", .prepare = open_device, .run = map },
	{ .name = "start", .prepare = open_and_map, .run = start },
	{ .name = "plug", .prepare = open_and_start, .run = plug },
	{ .name = "batch", .prepare = open_and_start, .run = batch },
	{ .name = "reset", .prepare = open_and_start, .run = reset },
	{ .name = "suspend", .prepare = open_and_start, .run = suspend },
	{ .name = "close", .prepare = open_and_start, .run = leave },
	{ .name = "to virtio-vdpa", .prepare = open_and_start,
	  .run = leave_to_virtio, .virtio = true },
	{ .name = "to vhost-vdpa", .prepare = leave_running_to_virtio,
	  .run = take_from_virtio, .virtio = true },
	{ .name = "removal", .prepare = open_and_start, .run = remove_device,
	  .removes = true },
};

/* The verdict. Nothing fails any more */

/* Whoever failed says so: no answer, or a wrong one, is none that is accepted */
static bool is_honest(int r)
{
	return r != -ETIMEDOUT && r != -EBADMSG;
}

/* The client can go on, wherever it was */
static int go_on(struct stage *s)
{
	/* A batch may be open, or all of it mapped already */
	client_batch(&s->c, 0, false);
	client_unmap_at(&s->c, 0, 0, 0);

	return client_reset(&s->c) ?:
	       client_ack(&s->c, s->c.features) ?: map(s) ?: start(s);
}

/*
 * Another client finds a device that works: in its own page, and not before it
 * has mapped it
 */
static int next_client(struct stage *s)
{
	struct vdpa_client c;
	unsigned int ring;
	int r;

	r = vdpa_bind(&s->dev, "vhost_vdpa") ?: client_open(&c, &s->dev, 0);
	if (r)
		return r;
	r = client_ack(&c, c.features) ?: client_start(&c);
	for (ring = 0; !r && ring < c.nvqs; ring++)
		r = client_kick(&c, ring);
	if (!r)
		r = client_reset(&c) ?: client_map(&c) ?: client_start(&c);
	if (!r)
		r = client_is_running(&c) ? client_io(&c, IO_TIMEOUT_MS) : -EIO;
	client_close(&c);

	return r;
}

static int next_driver(struct stage *s)
{
	return vdpa_bind(&s->dev, "virtio_vdpa") ?: virtio_io(&s->dev) ?:
	       vdpa_bind(&s->dev, "vhost_vdpa");
}

/* Drivers take long to come and go: with -q, not after each failure */
static int next_owners(struct stage *s, bool driver)
{
	int r = next_client(s);

	return !r && driver ? next_driver(s) : r;
}

static void replace_device(struct __test_metadata *_metadata, struct stage *s)
{
	const struct vdpa_parent *parent = s->dev.parent;
	const char *why;

	vdpa_dev_put(&s->dev);
	ASSERT_EQ(s->pins, pins_in_system());
	ASSERT_EQ(0, vdpa_violations(&s->dev)) {
		TH_LOG("%s", vdpa_violation(&s->dev));
	}
	ASSERT_EQ(0, vdpa_dev_get(&s->dev, parent, &why));
}

struct outcome {
	char of[128];		/* part, fault, and place of the fault */
	bool may_be_lost;	/* the device */
	bool removed;		/* it may be */
	bool driver;		/* look how one gets on */
};

static void judge(struct __test_metadata *_metadata, struct stage *s,
		  const struct outcome *outcome)
{
	int r = 0;

	if (s->c.fd >= 0) {
		r = go_on(s);
		if (!r)
			ASSERT_EQ(s->pins + pins_of_process(), pins_in_system()) {
				TH_LOG("%s", outcome->of);
			}
		leave(s);
	}
	if (outcome->removed)
		replace_device(_metadata, s);
	if (!r)
		r = next_owners(s, outcome->driver);
	if (r) {
		/* It is refused for good: only another device helps */
		ASSERT_TRUE(outcome->may_be_lost && is_honest(r)) {
			TH_LOG("%s: returned %d", outcome->of, r);
		}
		replace_device(_metadata, s);
		ASSERT_EQ(0, next_owners(s, outcome->driver)) {
			TH_LOG("%s", outcome->of);
		}
	} else if (s->trap) {
		ASSERT_EQ(0, memcmp(s->copy, s->trap, sizeof(*s->trap))) {
			TH_LOG("%s", outcome->of);
		}
	}
	ASSERT_EQ(s->pins, pins_in_system()) {
		TH_LOG("%s", outcome->of);
	}
	ASSERT_EQ(0, vdpa_violations(&s->dev)) {
		TH_LOG("%s: %s", outcome->of, vdpa_violation(&s->dev));
	}
	if (s->trap)
		munmap(s->trap, sizeof(*s->trap));
	s->trap = NULL;
}

/* Each place of one part for one kind of fault */

struct run {
	const struct part *part;
	struct stage *stage;
};

static int do_part(void *arg)
{
	struct run *run = arg;

	return run->part->run(run->stage);
}

static unsigned int next_place(unsigned int nth)
{
	return nth + 1 + (vdpa_given.quick ? nth / QUICK_FAULTS : 0);
}

static void sweep(struct __test_metadata *_metadata, struct stage *s,
		  const struct part *part, const struct fault_source *source)
{
	struct run run = { .part = part, .stage = s };
	unsigned int nth, last = 0;
	struct outcome outcome = { .removed = part->removes };
	bool failed = true;
	int r = 0;

	/* vduse_deaths has a hand-over with each message of a daemon */
	if (part->virtio && source->run)
		return;

	for (nth = 1; failed && nth < MAX_FAULTS; nth = next_place(nth)) {
		if (part->prepare)
			ASSERT_EQ(0, part->prepare(s));
		snprintf(outcome.of, sizeof(outcome.of), "%s, %s%s %u", part->name,
			 source->name, source->always ? " from" : "", nth);
		r = fault_run(source, &s->dev, nth, &failed, do_part, &run);
		ASSERT_NE(-ENOENT, failed ? 0 : r);
		ASSERT_TRUE(part->virtio || is_honest(r)) {
			TH_LOG("%s: %d", outcome.of, r);
		}
		outcome.may_be_lost = source->costs_device &&
				      source->costs_device(source);
		outcome.driver = failed && (nth == 1 || !vdpa_given.quick);
		judge(_metadata, s, &outcome);
		last = failed ? nth : last;
	}
	if (last)
		TH_LOG("%s, %s%s: up to %u", part->name, source->name,
		       source->always ? " and all after it" : "", last);
	/* The last one got to its end */
	ASSERT_EQ(0, r);
	ASSERT_FALSE(failed);
}

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

FIXTURE_VARIANT_ADD(sweep, mlx5)
{
	.parent = MLX5_NET,
};

FIXTURE_VARIANT_ADD(sweep, vduse)
{
	.parent = VDUSE_BLK,
};

FIXTURE_SETUP(sweep)
{
	struct stage *stage = &self->stage;
	const char *why;
	int r;

	stage->c.fd = -1;
	r = vdpa_dev_get(&stage->dev, &variant->parent, &why);
	if (!r && !stage->dev.created)
		SKIP(return, "does not upset the device that -d names");
	if (r)
		SKIP(return, "%s", why);

	stage->pins = pins_in_system();
	stage->mem = stage->dev.use_va ? vdpa_dev_alloc(&stage->dev, BULK) :
		     shuffled_alloc(BULK);
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

TEST_F_TIMEOUT(sweep, memory, 1800)
{
	unsigned int i;

	if (fault_init())
		SKIP(return, "no fault injection in this kernel, or not root");
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		sweep(_metadata, &self->stage, &parts[i], &memory_fault);
}

TEST_F_TIMEOUT(sweep, parent, 1800)
{
	const struct fault_source *source = variant->parent.ops->faults;
	unsigned int i;

	if (source->arm && source->arm(source, 1))
		SKIP(return, "no fault injection in this kernel, or not root");
	if (source->arm)
		source->disarm(source);
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		for (source = variant->parent.ops->faults; source->name; source++)
			sweep(_metadata, &self->stage, &parts[i], source);
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
