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
 * daemon (vdpa_parent_ops.faults). Needs root, and for vp_vdpa VDPA_PCI=ADDRESS of
 * a virtio disk behind an IOMMU.
 *
 * It is not all: there are no disks of the simulator, no more than one pair of
 * virtqueues, and nobody removes a device that is open; and vp_vdpa, which only a
 * hand starts, is not taken from its IOMMU domain.
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
/* The first so many places are all tried with -q, then ever fewer, and the last */
#define QUICK_FAULTS 10

#define BULK	(4 * 4096UL)
#define BULK_BYTE	0x5a

/* Memory of the first owner's, which may be mapped at either address */
enum bulk { FIRST, SECOND, NR_BULKS };

static const uint64_t bulk_iova[NR_BULKS] = { BIT_ULL(32), BIT_ULL(33) };

/* What was the page of a client that has left, and what is in there */
struct trap {
	struct client_page *page;
	struct client_page *copy;
};

/* There are no more owners than that before the device is judged */
#define NR_TRAPS	2

/* A device, and its first owner */
struct stage {
	struct vdpa_parent parent;
	struct vdpa_dev dev;
	struct vdpa_client c;
	unsigned int asid;		/* which its clients use */
	bool compat;			/* they do not acknowledge IOTLB_PERSIST */
	void *mem;			/* BULK bytes */
	bool mapped;			/* has it had anything? */
	bool may_reach[NR_BULKS];
	struct trap trap[NR_TRAPS];
	unsigned int traps;
	bool kept;			/* something was pinned after it had left */
	unsigned int io_ms;		/* as in its struct vdpa_client */
	long pins;
};

/* The parts of a life */

static int ack(const struct stage *s, struct vdpa_client *c)
{
	return client_ack(c, c->features & ~(s->compat ? F_PERSIST : 0));
}

static int open_device(struct stage *s)
{
	return client_open(&s->c, &s->dev, s->asid) ?: ack(s, &s->c);
}

static int map_bulk(struct stage *s, enum bulk bulk)
{
	int r = client_map_at(&s->c, s->asid, bulk_iova[bulk], s->mem, BULK);

	s->may_reach[bulk] |= !r;

	return r;
}

static int unmap_bulk(struct stage *s, enum bulk bulk)
{
	int r = client_unmap_at(&s->c, s->asid, bulk_iova[bulk], BULK);

	s->may_reach[bulk] &= r != 0;

	return r;
}

static int map(struct stage *s)
{
	int r = client_map(&s->c);

	s->mapped |= !r;

	return r ?: map_bulk(s, FIRST);
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
	return map_bulk(s, SECOND) ?: client_io(&s->c, IO_TIMEOUT_MS) ?:
	       unmap_bulk(s, SECOND);
}

static int batch(struct stage *s)
{
	int r = client_batch(&s->c, s->asid, true);

	if (!r)
		r = unmap_bulk(s, FIRST) ?: map_bulk(s, SECOND) ?:
		    map_bulk(s, FIRST);
	/* Nothing of it need have happened before it is at its end */
	s->may_reach[FIRST] = true;
	if (!r)
		r = client_batch(&s->c, s->asid, false);

	return r ?: client_io(&s->c, IO_TIMEOUT_MS);
}

/* For a client that did not ask for more, nothing is mapped after it */
static int reset(struct stage *s)
{
	int r = client_reset(&s->c);

	if (r || !s->compat || s->dev.keeps)
		return r;
	r = client_start(&s->c);

	return r ?: client_no_io(&s->c) ? -EBADMSG : 0;
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
	struct trap *trap = &s->trap[s->traps];
	unsigned int ring;

	if (s->c.io_ms)
		s->io_ms = s->c.io_ms;
	s->c.page = NULL;
	client_close(&s->c);
	s->mapped = false;
	memset(s->may_reach, 0, sizeof(s->may_reach));
	s->kept |= pins_in_system() > s->pins;
	if (!page)
		return 0;

	/* First in the copy: a device that polls is faster than what follows */
	*trap->copy = *page;
	memset(trap->copy->ring, 0, sizeof(trap->copy->ring));
	for (ring = 0; ring < CLIENT_RINGS; ring++)
		s->c.kick[ring] = -1;
	s->c.page = trap->copy;
	client_burst(&s->c);
	s->c.page = NULL;
	*page = *trap->copy;
	trap->page = page;
	s->traps++;

	return 0;
}

static bool traps_are_whole(const struct stage *s)
{
	unsigned int i;

	for (i = 0; i < s->traps; i++)
		if (memcmp(s->trap[i].page, s->trap[i].copy, sizeof(*s->trap[i].page)))
			return false;

	return true;
}

static void clear_traps(struct stage *s)
{
	while (s->traps)
		munmap(s->trap[--s->traps].page, sizeof(*s->trap->page));
	s->kept = false;
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
	bool detaches;		/* it may be taken from an IOMMU domain */
	bool virtio;		/* virtio's drivers hear of no failure to start */
} parts[] = {
	{ .name = "open", .run = open_device },
	{ .name = "map", .prepare = open_device, .run = map },
	{ .name = "start", .prepare = open_and_map, .run = start },
	{ .name = "plug", .prepare = open_and_start, .run = plug },
	{ .name = "batch", .prepare = open_and_start, .run = batch },
	{ .name = "reset", .prepare = open_and_start, .run = reset },
	{ .name = "suspend", .prepare = open_and_start, .run = suspend },
	{ .name = "close", .prepare = open_and_start, .run = leave,
	  .detaches = true },
	{ .name = "to virtio-vdpa", .prepare = open_and_start,
	  .run = leave_to_virtio, .virtio = true, .detaches = true },
	{ .name = "to vhost-vdpa", .prepare = leave_running_to_virtio,
	  .run = take_from_virtio, .virtio = true },
	{ .name = "removal", .prepare = open_and_start, .run = remove_device,
	  .removes = true, .detaches = true },
};

/* The IOMMU core of 6.1 warns if there is no memory to attach its own domain */
static bool is_limit_of_iommu(const struct stage *s, const struct part *part)
{
	return part->detaches && s->dev.parent->ops == &vp_vdpa_ops;
}

/* The verdict. Nothing fails any more */

/*
 * Whoever failed says so: no answer, or a wrong one, is none that is accepted, nor
 * is a daemon that died of itself
 */
static bool is_honest(int r)
{
	return r != -ETIMEDOUT && r != -EBADMSG && r != -ECHILD;
}

/* Has the device write there, with what it has mapped otherwise */
static bool writes_to(struct stage *s, uint64_t iova)
{
	const struct client_part in = { iova, CLIENT_BUF_SIZE, true };
	uint64_t end = now_ms() + client_window(&s->c);
	const uint8_t *byte = s->mem;
	size_t i;

	memset(s->mem, BULK_BYTE, BULK);
	client_post(&s->c, 0, 0, &in, 1);
	client_post_frame(&s->c, 0);
	/* Nothing is known of a device that was not asked */
	if (client_kick(&s->c, 1))
		return true;
	while (now_ms() < end && !client_refused(&s->c))
		usleep(200);
	/* It is suspended, perhaps, and would find this once it starts again */
	s->c.keep_rings = false;
	for (i = 0; i < BULK; i++)
		if (byte[i] != BULK_BYTE)
			return true;

	return false;
}

/*
 * A daemon is asked what it is given, and has to answer. Others have to work for it,
 * so that nothing is known of them if they do not
 */
static bool reaches(struct stage *s, uint64_t iova)
{
	if (s->dev.daemon)
		return vduse_daemon_reaches_at(s->dev.daemon, iova) != 0;

	return s->c.device_id == VIRTIO_ID_NET && client_is_running(&s->c) &&
	       writes_to(s, iova);
}

/* Whatever failed: what is not mapped is out of reach */
static bool keeps_to_the_map(struct stage *s)
{
	enum bulk bulk;

	for (bulk = 0; bulk < NR_BULKS; bulk++)
		if (!s->may_reach[bulk] && reaches(s, bulk_iova[bulk]))
			return false;

	return true;
}

/* Who never had anything has no address space */
static int unmap_all(struct stage *s)
{
	int r = client_unmap_at(&s->c, s->asid, 0, 0);

	return r == -EINVAL && !s->mapped ? 0 : r;
}

/* The client can go on, wherever it was */
static int go_on(struct stage *s)
{
	/* One may be open */
	client_batch(&s->c, s->asid, false);

	return unmap_all(s) ?: client_reset(&s->c) ?:
	       ack(s, &s->c) ?: map(s) ?: start(s);
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

	r = vdpa_bind(&s->dev, "vhost_vdpa") ?: client_open(&c, &s->dev, s->asid);
	if (r)
		return r;
	c.io_ms = s->io_ms;
	r = ack(s, &c) ?: client_start(&c);
	for (ring = 0; !r && ring < c.nvqs; ring++)
		r = client_kick(&c, ring);
	/* For all that is between the kick and the device */
	usleep(1000 * client_window(&c));
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

struct outcome {
	char of[128];		/* part, fault, and place of the fault */
	int result;		/* of the part */
	bool failed;		/* there was such a place */
	bool may_be_lost;	/* the device */
	bool virtio;		/* it was virtio's */
	bool removed;		/* it may be */
	bool driver;		/* look how one gets on */
};

/*
 * Virtio's driver cannot be told that a reset failed, and frees what it had. If
 * that is because firmware keeps a queue, the queue still finds it, until a reset
 * works or the device is deleted. This is the only case in which a device may reach
 * what it should not.
 */
static bool is_limit_of_virtio(const struct stage *s,
			       const struct outcome *outcome)
{
	return outcome->virtio && outcome->may_be_lost &&
	       vdpa_violations(&s->dev) &&
	       !strncmp(vdpa_violation(&s->dev), "stuck queue", 11);
}

static void replace_device(struct __test_metadata *_metadata, struct stage *s,
			   const struct outcome *outcome)
{
	const struct vdpa_parent *parent = s->dev.parent;
	const char *why;

	vdpa_dev_put(&s->dev);
	ASSERT_EQ(s->pins, pins_in_system()) {
		TH_LOG("%s", outcome->of);
	}
	ASSERT_TRUE(is_limit_of_virtio(s, outcome) || !vdpa_violations(&s->dev)) {
		TH_LOG("%s: %s", outcome->of, vdpa_violation(&s->dev));
	}
	ASSERT_EQ(0, vdpa_dev_get(&s->dev, parent, &why));
}

/* The first owner goes on, and leaves. Returns why it could not */
static int judge_owner(struct __test_metadata *_metadata, struct stage *s,
		       const struct outcome *outcome)
{
	bool admitted = outcome->result || client_has_failed(&s->c);
	int r;

	if (outcome->failed)
		ASSERT_TRUE(keeps_to_the_map(s)) {
			TH_LOG("%s: reached what is not mapped", outcome->of);
		}
	r = go_on(s);
	ASSERT_TRUE(!r || admitted) {
		TH_LOG("%s: succeeded, and then %d", outcome->of, r);
	}
	if (!r)
		ASSERT_EQ(s->pins + pins_of_process(), pins_in_system()) {
			TH_LOG("%s", outcome->of);
		}
	leave(s);

	return r;
}

static void judge(struct __test_metadata *_metadata, struct stage *s,
		  const struct outcome *outcome)
{
	int r = 0;

	if (s->c.fd >= 0)
		r = judge_owner(_metadata, s, outcome);
	if (outcome->removed)
		replace_device(_metadata, s, outcome);
	if (!r)
		r = next_owners(s, outcome->driver);
	/* A device that is lost may have changed what was pinned for it */
	s->kept |= pins_in_system() > s->pins;
	ASSERT_TRUE(traps_are_whole(s) || (r && s->kept)) {
		TH_LOG("%s: %d, memory of a client that was gone", outcome->of, r);
	}
	if (r) {
		/* It is refused for good: only another device helps */
		ASSERT_TRUE(outcome->may_be_lost && is_honest(r)) {
			TH_LOG("%s: returned %d", outcome->of, r);
		}
		replace_device(_metadata, s, outcome);
		ASSERT_EQ(0, next_owners(s, outcome->driver)) {
			TH_LOG("%s", outcome->of);
		}
	}
	if (is_limit_of_virtio(s, outcome))
		replace_device(_metadata, s, outcome);
	ASSERT_EQ(s->pins, pins_in_system()) {
		TH_LOG("%s", outcome->of);
	}
	ASSERT_EQ(0, vdpa_violations(&s->dev)) {
		TH_LOG("%s: %s", outcome->of, vdpa_violation(&s->dev));
	}
	clear_traps(s);
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

/* After @last, and before @end, which is one too many. The last one is among them */
static unsigned int next_place(unsigned int last, unsigned int end)
{
	unsigned int next = last + 1 + (vdpa_given.quick ? last / QUICK_FAULTS : 0);

	return next < end ? next : last + (end - last) / 2;
}

/* Returns whether there was such a place */
static bool fail_at(struct __test_metadata *_metadata, struct run *run,
		    const struct fault_source *source, unsigned int nth)
{
	const struct part *part = run->part;
	struct stage *s = run->stage;
	struct outcome outcome = {
		.removed = part->removes,
		.virtio = part->virtio,
	};

	if (part->prepare)
		ASSERT_EQ(0, part->prepare(s));
	snprintf(outcome.of, sizeof(outcome.of), "%s, %s%s %u", part->name,
		 source->name, source->always ? " from" : "", nth);
	outcome.result = fault_run(source, &s->dev, nth, &outcome.failed,
				   do_part, run);
	ASSERT_NE(-ENODATA, outcome.result) {
		TH_LOG("%s: no such fault", outcome.of);
	}
	ASSERT_TRUE(part->virtio || is_honest(outcome.result)) {
		TH_LOG("%s: %d", outcome.of, outcome.result);
	}
	/* Without a fault it gets to its end */
	ASSERT_TRUE(outcome.failed || !outcome.result) {
		TH_LOG("%s: %d without a fault", outcome.of, outcome.result);
	}
	outcome.may_be_lost = source->costs_device &&
			      source->costs_device(source);
	outcome.driver = outcome.failed && (nth == 1 || !vdpa_given.quick);
	judge(_metadata, s, &outcome);

	return outcome.failed;
}

/* Returns how many places there are */
static unsigned int sweep(struct __test_metadata *_metadata, struct stage *s,
			  const struct part *part,
			  const struct fault_source *source)
{
	struct run run = { .part = part, .stage = s };
	unsigned int nth, end = MAX_FAULTS, last = 0;

	if (is_limit_of_iommu(s, part)) {
		TH_LOG("%s: left out", part->name);
		return 0;
	}

	while (last + 1 < end) {
		nth = next_place(last, end);
		if (fail_at(_metadata, &run, source, nth))
			last = nth;
		else
			end = nth;
	}
	ASSERT_GT(MAX_FAULTS, (int)end);
	if (last)
		TH_LOG("%s, %s%s: %u", part->name, source->name,
		       source->always ? " and all after it" : "", last);

	return last;
}

FIXTURE(sweep)
{
	struct stage stage;
};

FIXTURE_VARIANT(sweep)
{
	struct vdpa_parent parent;
	unsigned int asid;
	bool compat;
};

FIXTURE_VARIANT_ADD(sweep, net_set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(sweep, net_dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_VARIANT_ADD(sweep, net_set_map_asid1)
{
	.parent = SIM_NET(true),
	.asid = 1,
};

FIXTURE_VARIANT_ADD(sweep, net_set_map_compat)
{
	.parent = SIM_NET(true),
	.compat = true,
};

FIXTURE_VARIANT_ADD(sweep, mlx5)
{
	.parent = MLX5_NET,
};

FIXTURE_VARIANT_ADD(sweep, mlx5_compat)
{
	.parent = MLX5_NET,
	.compat = true,
};

FIXTURE_VARIANT_ADD(sweep, vduse)
{
	.parent = VDUSE_BLK,
};

/* Behind an IOMMU. Only memory can fail here */
FIXTURE_VARIANT_ADD(sweep, vp_vdpa)
{
	.parent = VP_VDPA_BLK(NULL),
};

FIXTURE_SETUP(sweep)
{
	struct stage *stage = &self->stage;
	const char *why;
	int i, r;

	stage->c.fd = -1;
	stage->asid = variant->asid;
	stage->compat = variant->compat;
	stage->parent = variant->parent;
	if (!stage->parent.mgmtdev)
		stage->parent.mgmtdev = getenv("VDPA_PCI");
	if (!stage->parent.mgmtdev)
		SKIP(return, "no VDPA_PCI=ADDRESS of a virtio disk behind an IOMMU");
	r = vdpa_dev_get(&stage->dev, &stage->parent, &why);
	if (!r && !stage->dev.created)
		SKIP(return, "does not upset the device that -d names");
	SKIP_IF_MISSING(r, why);

	stage->pins = pins_in_system();
	stage->mem = stage->dev.use_va ? vdpa_dev_alloc(&stage->dev, BULK) :
		     shuffled_alloc(BULK);
	for (i = 0; i < NR_TRAPS; i++)
		stage->trap[i].copy = malloc(sizeof(*stage->trap[i].copy));
	if (!stage->mem)
		vdpa_dev_put(&stage->dev);
	ASSERT_NE(NULL, stage->mem);
}

FIXTURE_TEARDOWN(sweep)
{
	struct stage *stage = &self->stage;

	int i;

	client_close(&stage->c);
	clear_traps(stage);
	for (i = 0; i < NR_TRAPS; i++)
		free(stage->trap[i].copy);
	vdpa_dev_put(&stage->dev);
	EXPECT_EQ(stage->pins, pins_in_system());
	EXPECT_EQ(0, vdpa_violations(&stage->dev));
}

/* Each part. A kind of fault that never occurs is no test of anything */
#define SWEEP_PARTS(_source)						\
do {									\
	const struct fault_source *_s = (_source);			\
	unsigned int _i, _faults = 0;					\
									\
	for (_i = 0; _i < ARRAY_SIZE(parts); _i++)			\
		_faults += sweep(_metadata, &self->stage, &parts[_i],	\
				 _s);					\
	EXPECT_LT(0U, _faults) {					\
		TH_LOG("%s: did not fail once", _s->name);		\
	}								\
} while (0)

TEST_F_TIMEOUT(sweep, memory, 1800)
{
	if (fault_init())
		SKIP(return, "no fault injection in this kernel, or not root");
	SWEEP_PARTS(&memory_fault);
}

TEST_F_TIMEOUT(sweep, parent, 1800)
{
	const struct fault_source *source = variant->parent.ops->faults;

	if (!source)
		SKIP(return, "fails for want of memory only");
	if (source->arm && source->arm(source, 1))
		SKIP(return, "no fault injection in this kernel, or not root");
	if (source->arm)
		source->disarm(source);
	for (; source->name; source++)
		if (!source->applies || source->applies(source, &variant->parent))
			SWEEP_PARTS(source);
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
