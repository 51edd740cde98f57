// SPDX-License-Identifier: GPL-2.0
/*
 * mlx5_vdpa on the model of its firmware (tools/testing/vdpa/mlx5), where the
 * model has something to say that a client does not see: what the driver asked
 * the firmware for, whether it was entitled to, what it left behind, and what
 * happens when the firmware refuses.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

#define CREATE_MKEY	0x200U
#define DESTROY_MKEY	0x202U
#define QUERY_VPORT_STATE 0x750U
#define CREATE_CQ	0x400U
#define DESTROY_CQ	0x401U
#define CREATE_QP	0x500U
#define DESTROY_QP	0x501U
#define CREATE_TIR	0x900U
#define SET_RULE	0x936U
#define RTR2RTS_QP	0x504U
#define CREATE_OBJECT	0xa00U
#define MODIFY_OBJECT	0xa01U

#define FAR_IOVA	BIT_ULL(32)
#define MAX_FAULTS	1000

/*
 * Keys with commands as long as they can be in flight together, and more of them than the
 * driver has at a time. No page larger than these divides an odd number of them.
 */
#define LONG_KEYS	180
#define LONG_KEY_PAGES	767
/* What looks after DMA complains of memory that is mapped for it eight times */
#define LONG_KEY_ALIASES 6
#define LONG_KEY_MEMORY	(LONG_KEYS / LONG_KEY_ALIASES * LONG_KEY_PAGES * getpagesize())

static const struct vdpa_parent mlx5 = MLX5_NET;

/* What the driver has in the model, where there is no device; "" is nothing */
static const char *leftover(void)
{
	static const char * const kinds[] = {
		"uctx", "pd", "td", "tis", "tir", "rqt", "umem", "mkey", "cq",
		"qp", "virtio_net_q", "virtio_q_counters", "flow_table",
		"flow_rule", "l2_table_entry", "notifier", "uar",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (mlx5_mock_objects(kinds[i]))
			return kinds[i];

	return "";
}

#define EXPECT_NOTHING_LEFT()	EXPECT_STREQ("", leftover())

/* Creation and removal */
FIXTURE(mgmt)
{
	struct vdpa_genl g;
	long violations;
};

FIXTURE_SETUP(mgmt)
{
	const char *why;

	SKIP_IF_MISSING(vdpa_load_parent(&mlx5, &why), why);
	ASSERT_EQ(0, vdpa_genl_open(&self->g));
	self->violations = mlx5_mock_get("violations");
}

FIXTURE_TEARDOWN(mgmt)
{
	mlx5_mock_disarm();
	EXPECT_EQ(self->violations, mlx5_mock_get("violations")) {
		TH_LOG("%s", mlx5_mock_violation());
	}
	EXPECT_NOTHING_LEFT();
	EXPECT_EQ(0, mlx5_mock_objects("buffer"));
	close(self->g.fd);
}

TEST_F(mgmt, creation_survives_failed_commands)
{
	struct vdpa_parent parent = mlx5;
	unsigned int nth, failed = 1;
	int r = 0;

	parent.mtu = 1400;
	for (nth = 1; failed && nth < MAX_FAULTS; nth++) {
		mlx5_mock_arm(nth, 0);
		r = vdpa_genl_add(&self->g, "vdpa_mlx5", &parent);
		failed = mlx5_mock_disarm();
		/* The link is up unless it is known to be down */
		if (failed && failed != QUERY_VPORT_STATE)
			EXPECT_NE(0, r) {
				TH_LOG("command %u, %#x", nth, failed);
			}
		if (!r)
			ASSERT_EQ(0, vdpa_genl_del(&self->g, "vdpa_mlx5"));
		ASSERT_EQ(0, mlx5_mock_objects("mkey"));
	}
	EXPECT_EQ(0, r);
	EXPECT_LT(5U, nth);
}

TEST_F(mgmt, creation_under_a_name_in_use_leaves_nothing)
{
	static const struct vdpa_parent sim = SIM_NET(true);
	const char *why;

	SKIP_IF_MISSING(vdpa_load_parent(&sim, &why), why);
	ASSERT_EQ(0, vdpa_genl_add(&self->g, "vdpa_mlx5", &sim));
	EXPECT_EQ(-EEXIST, vdpa_genl_add(&self->g, "vdpa_mlx5", &mlx5));
	EXPECT_EQ(0, mlx5_mock_objects("notifier"));
	/* Whoever is still registered hears of it */
	EXPECT_EQ(0, mlx5_mock_set("link", 0));
	EXPECT_EQ(0, mlx5_mock_set("link", 1));
	ASSERT_EQ(0, vdpa_genl_del(&self->g, "vdpa_mlx5"));
}

/* A client of vhost-vdpa */
FIXTURE(mlx5)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	long violations;
	long pins;
	char *far;
	char log[256];
};

FIXTURE_SETUP(mlx5)
{
	const char *why;
	int r;

	self->c.fd = -1;
	r = vdpa_dev_get(&self->dev, &mlx5, &why);
	if (!r && !self->dev.created)
		SKIP(return, "does not need the device that -d names");
	SKIP_IF_MISSING(r, why);
	self->violations = mlx5_mock_get("violations");
	self->pins = pins_in_system();
	self->far = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	log_errors(NULL, 0);
	r = client_open(&self->c, &self->dev, 0);
	if (!r)
		r = client_ack(&self->c, self->c.features);
	if (r)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
}

FIXTURE_TEARDOWN(mlx5)
{
	mlx5_mock_disarm();
	mlx5_mock_set("link", 1);
	client_close(&self->c);
	vdpa_dev_put(&self->dev);
	EXPECT_EQ(self->violations, mlx5_mock_get("violations")) {
		TH_LOG("%s", mlx5_mock_violation());
	}
	EXPECT_NOTHING_LEFT();
	EXPECT_EQ(self->pins, pins_in_system());
}

#define START_RUNNING()							\
do {									\
	START();							\
	ASSERT_TRUE(client_is_running(&self->c));			\
} while (0)

static int map_far(struct vdpa_client *c, void *far)
{
	return client_map_at(c, 0, FAR_IOVA, far, getpagesize());
}

static int start_and_io(struct vdpa_client *c)
{
	int r = client_start(c);

	if (r)
		return r;
	if (!client_is_running(c))
		return -EIO;
	r = client_io(c, IO_TIMEOUT_MS);
	if (r)
		return r;

	return client_ctrl(c, IO_TIMEOUT_MS);
}

/*
 * vhost-vdpa does not tell whether an unmap worked: *@unseen is set if a command
 * of one was made to fail.
 */
static int unmap(struct vdpa_client *c, uint64_t iova, bool *unseen)
{
	bool before = mlx5_mock_get("failed");
	int r = client_unmap_at(c, 0, iova, getpagesize());

	*unseen |= !before && mlx5_mock_get("failed");

	return r;
}

static int session(struct vdpa_client *c, void *far, bool *unseen)
{
	int r;

	r = client_map(c);
	if (!r)
		r = start_and_io(c);
	/* With the queues running, and without */
	if (!r)
		r = map_far(c, far);
	if (!r)
		r = client_io(c, IO_TIMEOUT_MS);
	if (!r)
		r = client_reset(c);
	if (!r)
		r = unmap(c, FAR_IOVA, unseen);
	if (!r)
		r = start_and_io(c);
	if (!r)
		r = client_reset(c);
	if (!r)
		r = unmap(c, c->iova, unseen);

	return r;
}

static int whole_session(struct vdpa_client *c, const struct vdpa_dev *dev, void *far)
{
	bool unseen;
	int r;

	r = client_open(c, dev, 0);
	if (!r)
		r = client_ack(c, c->features);

	return r ?: session(c, far, &unseen);
}

/* What is there to be created has to be there, and the client has to know */
static bool must_be_reported(unsigned int opcode)
{
	switch (opcode) {
	case CREATE_MKEY:
	case CREATE_CQ:
	case CREATE_QP:
	case 0x502:	/* RST2INIT_QP */
	case 0x503:	/* INIT2RTR_QP */
	case RTR2RTS_QP:
	case CREATE_TIR:
	case 0x916:	/* CREATE_RQT */
	case 0x930:	/* CREATE_FLOW_TABLE */
	case SET_RULE:
	case CREATE_OBJECT:
	case 0xa08:	/* CREATE_UMEM */
		return true;
	default:
		return false;
	}
}

TEST_F_TIMEOUT(mlx5, session_survives_failed_commands, 1200)
{
	unsigned int nth, failed = 0;
	bool in_advance, while_open, unseen;
	const char *why;
	int r = 0, r2;
	long buffers = 0;

	for (nth = 1; (nth == 1 || failed) && nth < MAX_FAULTS; nth++) {
		/* A new one, whose virtqueues have nothing yet that outlives a reset */
		client_close(&self->c);
		vdpa_dev_put(&self->dev);
		EXPECT_NOTHING_LEFT();
		/* What could not be destroyed has its memory for good */
		if (nth == 1 || mlx5_mock_destroys(failed))
			buffers = mlx5_mock_objects("buffer");
		EXPECT_EQ(buffers, mlx5_mock_objects("buffer"));
		ASSERT_EQ(0, vdpa_dev_get(&self->dev, &mlx5, &why));
		in_advance = mlx5_mock_objects("virtio_net_q");
		unseen = false;
		mlx5_mock_arm(nth, 0);
		r = client_open(&self->c, &self->dev, 0);
		if (!r)
			r = client_ack(&self->c, self->c.features);
		if (!r)
			r = session(&self->c, self->far, &unseen);
		while_open = mlx5_mock_get("failed");
		client_close(&self->c);
		failed = mlx5_mock_disarm();

		/* What could not be created in advance is created when it is needed */
		if (while_open && !unseen && !in_advance && must_be_reported(failed))
			EXPECT_NE(0, r) {
				TH_LOG("command %u, %#x", nth, failed);
			}
		ASSERT_EQ(self->violations, mlx5_mock_get("violations")) {
			TH_LOG("command %u, %#x: %s", nth, failed,
			       mlx5_mock_violation());
		}
		/* One address space is 1:1, if the firmware let it */
		if (must_be_reported(failed) && while_open)
			EXPECT_EQ(1, mlx5_mock_objects("mkey")) {
				TH_LOG("command %u, %#x", nth, failed);
			}

		/* The next client does not notice, unless the device is lost */
		r2 = whole_session(&self->c, &self->dev, self->far);
		if (r2 && mlx5_mock_destroys(failed)) {
			client_close(&self->c);
			vdpa_dev_put(&self->dev);
			EXPECT_NOTHING_LEFT();
			ASSERT_EQ(0, vdpa_dev_get(&self->dev, &mlx5, &why));
			r2 = whole_session(&self->c, &self->dev, self->far);
		}
		ASSERT_EQ(0, r2) {
			TH_LOG("after command %u, %#x", nth, failed);
		}
	}
	EXPECT_EQ(0, r);
	EXPECT_LT(100U, nth);
	client_close(&self->c);
	ASSERT_VIRTIO_IO();
}

/* What firmware keeps of a device that goes is not freed; the next one works */
TEST_F_TIMEOUT(mlx5, removal_survives_failed_commands, 600)
{
	bool cq = false, qp = false, unseen = false;
	unsigned int nth, failed = 1;
	const char *why;

	for (nth = 1; failed && nth < MAX_FAULTS; nth++) {
		ASSERT_EQ(0, session(&self->c, self->far, &unseen));
		client_close(&self->c);
		mlx5_mock_arm(nth, 0);
		vdpa_dev_put(&self->dev);
		failed = mlx5_mock_disarm();
		cq |= failed == DESTROY_CQ;
		qp |= failed == DESTROY_QP;
		EXPECT_NOTHING_LEFT();
		ASSERT_EQ(self->violations, mlx5_mock_get("violations")) {
			TH_LOG("command %u, %#x: %s", nth, failed, mlx5_mock_violation());
		}
		ASSERT_EQ(0, vdpa_dev_get(&self->dev, &mlx5, &why));
		ASSERT_EQ(0, client_open(&self->c, &self->dev, 0));
		ASSERT_EQ(0, client_ack(&self->c, self->c.features));
	}
	EXPECT_TRUE(cq && qp);
}

TEST_F(mlx5, failed_set_map_keeps_the_mapping)
{
	unsigned int running, nth;

	for (running = 0; running < 2; running++) {
		ASSERT_EQ(0, client_map(&self->c));
		if (running)
			START_RUNNING();
		for (nth = 1; nth <= 2; nth++) {
			mlx5_mock_arm(nth, CREATE_MKEY);
			EXPECT_GT(0, map_far(&self->c, self->far));
			EXPECT_EQ(CREATE_MKEY, mlx5_mock_disarm());
		}
		if (!running)
			START_RUNNING();
		EXPECT_IO();
		EXPECT_EQ(0, client_ctrl(&self->c, IO_TIMEOUT_MS));
		ASSERT_EQ(0, client_reset(&self->c));
		ASSERT_EQ(0, client_unmap(&self->c));
	}
	EXPECT_NO_LOG();
}

/* Of this test alone: each has a process of its own */
static bool may_pin_much(void)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	return !setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

/* Not all of other memory, but each a region of its own */
static int map_long_keys(struct vdpa_client *c, const char *mem)
{
	const size_t size = LONG_KEY_PAGES * getpagesize();
	unsigned int i;
	int r = client_batch(c, 0, true);

	for (i = 0; !r && i < LONG_KEYS; i++)
		r = client_map_at(c, 0, FAR_IOVA + 2 * i * size,
				  mem + i / LONG_KEY_ALIASES * size, size);

	return r ?: client_batch(c, 0, false);
}

/* One of the first, when the last have not been asked for */
TEST_F(mlx5, failure_among_many_keys_keeps_the_mapping)
{
	char *mem = mmap(NULL, LONG_KEY_MEMORY, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	long keys;

	if (!may_pin_much())
		SKIP(return, "can't raise RLIMIT_MEMLOCK: not root");
	ASSERT_EQ(0, client_map(&self->c));
	START_RUNNING();
	keys = mlx5_mock_commands(CREATE_MKEY);
	mlx5_mock_arm(1, CREATE_MKEY);
	EXPECT_GT(0, map_long_keys(&self->c, mem));
	EXPECT_EQ(CREATE_MKEY, mlx5_mock_disarm());
	EXPECT_LT(mlx5_mock_commands(CREATE_MKEY) - keys, LONG_KEYS);
	EXPECT_IO();
	EXPECT_EQ(0, map_long_keys(&self->c, mem));
	EXPECT_IO();
}

/* Of the memory of LONG_ALIASES ranges side by side: the command for it takes 1 MiB */
#define LONG_ALIASES	3
#define LONG_SIZE	(43689UL * getpagesize())

/* One key of a great many single pages, and one of a page: neither waits for the other */
TEST_F(mlx5, key_of_many_pages_keeps_no_other_waiting)
{
	char *mem = mmap(NULL, LONG_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	unsigned int i;
	long chain;

	ASSERT_NE(MAP_FAILED, mem);
	if (!may_pin_much())
		SKIP(return, "can't raise RLIMIT_MEMLOCK: not root");
	ASSERT_EQ(0, client_batch(&self->c, 0, true));
	for (i = 0; i < LONG_ALIASES; i++)
		ASSERT_EQ(0, client_map_at(&self->c, 0, FAR_IOVA + i * LONG_SIZE, mem, LONG_SIZE));
	ASSERT_EQ(0, client_map_at(&self->c, 0, 2 * FAR_IOVA, mem, getpagesize()));
	chain = mlx5_mock_get("chain");
	mlx5_mock_set("async_all", 1);
	EXPECT_EQ(0, client_batch(&self->c, 0, false));
	mlx5_mock_set("async_all", 0);
	/* Both at once, then the list of them; and the old list goes */
	EXPECT_GE(3, mlx5_mock_get("chain") - chain);
}

TEST_F(mlx5, virtio_follows_a_client_whose_set_map_failed)
{
	ASSERT_EQ(0, client_map(&self->c));
	START_RUNNING();
	EXPECT_IO();
	mlx5_mock_arm(1, CREATE_MKEY);
	EXPECT_GT(0, map_far(&self->c, self->far));
	EXPECT_EQ(CREATE_MKEY, mlx5_mock_disarm());
	client_close(&self->c);
	ASSERT_VIRTIO_IO();
	EXPECT_NO_LOG();
}

TEST_F(mlx5, suspended_device_hears_of_the_link_again_after_a_reset)
{
	long notifiers;

	ASSERT_EQ(0, client_map(&self->c));
	START_RUNNING();
	notifiers = mlx5_mock_objects("notifier");
	ASSERT_EQ(0, client_suspend(&self->c));
	ASSERT_EQ(0, client_suspend(&self->c));
	ASSERT_EQ(0, client_reset(&self->c));
	self->c.keep_rings = false;
	START_RUNNING();
	EXPECT_EQ(notifiers, mlx5_mock_objects("notifier"));
	EXPECT_IO();
	ASSERT_EQ(0, client_suspend(&self->c));
}

TEST_F(mlx5, link_changes_while_nobody_drives_the_device)
{
	uint64_t end;
	long looked;

	client_close(&self->c);
	ASSERT_VIRTIO_IO();
	looked = mlx5_mock_commands(QUERY_VPORT_STATE);
	EXPECT_EQ(0, mlx5_mock_set("link", 0));
	EXPECT_EQ(0, mlx5_mock_set("link", 1));
	/* From a workqueue, after which it calls back. Newer kernels don't look at all */
	end = now_ms() + IO_TIMEOUT_MS;
	while (mlx5_mock_commands(QUERY_VPORT_STATE) < looked + 2 && now_ms() < end)
		usleep(1000);
	usleep(100000);
}

/* Its driver would wait in the probe, in the kernel, for a command to be served */
TEST_F(mlx5, virtio_gives_up_a_device_that_does_not_start)
{
	client_close(&self->c);
	mlx5_mock_arm(1, MODIFY_OBJECT);
	EXPECT_EQ(0, vdpa_bind(&self->dev, "virtio_vdpa"));
	EXPECT_EQ(MODIFY_OBJECT, mlx5_mock_disarm());
	/* It could start by now, but the driver has virtqueues that are broken */
	EXPECT_EQ(VIRTIO_CONFIG_S_FAILED,
		  virtio_status(&self->dev) & (VIRTIO_CONFIG_S_FAILED |
					       VIRTIO_CONFIG_S_DRIVER_OK));
	EXPECT_GT(0, virtio_io(&self->dev));

	ASSERT_EQ(0, virtio_bind(&self->dev, false));
	ASSERT_EQ(0, virtio_bind(&self->dev, true));
	EXPECT_EQ(0, virtio_io(&self->dev));
	ASSERT_EQ(0, vdpa_bind(&self->dev, "vhost_vdpa"));
}

/*
 * A device that is suspended in mid-traffic and reset goes on with the next
 * descriptor: each is used once, in order, and each frame is sent once. (It is
 * lost if it is sent before there are rules that say who receives it.)
 */
TEST_F_TIMEOUT(mlx5, suspend_reset_restart_loses_nothing, 600)
{
	struct client_page *page = self->c.page;
	unsigned int round, i, ring, sent = 0;
	long moved = mlx5_mock_get("frames") + mlx5_mock_get("dropped");
	uint16_t used[2] = {};

	ASSERT_EQ(0, client_map(&self->c));
	START_RUNNING();
	for (round = 0; round < 200; round++) {
		for (i = 0; i < 4; i++)
			client_post_frame(&self->c, sent++ % CLIENT_RING_NUM);
		while ((uint16_t)(page->ring[0].avail.idx - used[0]) <
		       CLIENT_RING_NUM)
			client_post_buffer(&self->c, page->ring[0].avail.idx %
						     CLIENT_RING_NUM);
		ASSERT_EQ(0, client_kick(&self->c, 1));
		if (round % 8 == 7)
			usleep(round * 5);
		ASSERT_EQ(0, client_suspend(&self->c));
		for (ring = 0; ring < 2; ring++)
			EXPECT_EQ(page->ring[ring].used.idx, self->c.base[ring]);
		ASSERT_EQ(0, client_reset(&self->c));
		START_RUNNING();
		ASSERT_EQ(0, client_wait(&self->c, 1, IO_TIMEOUT_MS));
		for (ring = 0; ring < 2; ring++)
			for (; used[ring] != page->ring[ring].used.idx; used[ring]++)
				ASSERT_EQ(0U + used[ring] % CLIENT_RING_NUM,
					  page->ring[ring].used.ring[used[ring] %
					  CLIENT_RING_NUM].id);
		ASSERT_EQ((uint16_t)sent, used[1]);
	}
	EXPECT_EQ(moved + sent,
		  mlx5_mock_get("frames") + mlx5_mock_get("dropped"));
}

struct kicker {
	struct vdpa_client *c;
	unsigned long kicks;
	bool stop;
};

static void *kick_ctrl(void *arg)
{
	struct kicker *kicker = arg;

	while (!__atomic_load_n(&kicker->stop, __ATOMIC_RELAXED))
		if (!client_kick(kicker->c, 2))
			__atomic_add_fetch(&kicker->kicks, 1, __ATOMIC_RELAXED);

	return NULL;
}

static unsigned long kicks(struct kicker *kicker)
{
	return __atomic_load_n(&kicker->kicks, __ATOMIC_RELAXED);
}

/* With firmware that takes its time. @within counts kicks that came meanwhile */
static int while_kicked(struct vdpa_client *c, int (*op)(struct vdpa_client *c),
			unsigned long *within)
{
	struct kicker kicker = { .c = c };
	unsigned long before;
	pthread_t thread;
	int r;

	r = -pthread_create(&thread, NULL, kick_ctrl, &kicker);
	if (r)
		return r;
	r = mlx5_mock_set("delay_us", 1000);
	while (!kicks(&kicker))
		usleep(100);
	before = kicks(&kicker);
	r = r ?: op(c);
	*within += kicks(&kicker) - before;
	mlx5_mock_set("delay_us", 0);
	__atomic_store_n(&kicker.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);

	return r;
}

TEST_F(mlx5, control_kicks_do_not_block_a_suspend)
{
	unsigned long within = 0;
	int i;

	ASSERT_EQ(0, client_map(&self->c));
	for (i = 0; i < 20; i++) {
		START_RUNNING();
		EXPECT_EQ(0, while_kicked(&self->c, client_suspend, &within));
		ASSERT_EQ(0, client_reset(&self->c));
		self->c.keep_rings = false;
	}
	EXPECT_LT(0UL, within);
}

TEST_F(mlx5, control_kicks_do_not_block_a_reset)
{
	unsigned long within = 0;
	int i;

	ASSERT_EQ(0, client_map(&self->c));
	for (i = 0; i < 20; i++) {
		START_RUNNING();
		EXPECT_EQ(0, while_kicked(&self->c, client_reset, &within));
	}
	EXPECT_LT(0UL, within);
}

/* The copy that the CPU has of what it may reach is that of the group's space */
TEST_F(mlx5, control_queue_reaches_nothing_in_an_empty_space)
{
	ASSERT_EQ(0, client_map(&self->c));
	ASSERT_EQ(0, client_set_group_asid(&self->c, 2, 1));
	START_RUNNING();
	EXPECT_IO();
	EXPECT_EQ(-ETIMEDOUT, client_ctrl(&self->c, NO_IO_MS));
}

/* A failure to start is told, and the next start works */
TEST_F(mlx5, start_that_failed_can_be_repeated)
{
	ASSERT_EQ(0, client_map(&self->c));
	mlx5_mock_arm(1, SET_RULE);
	ASSERT_EQ(0, client_start(&self->c));
	EXPECT_EQ(SET_RULE, mlx5_mock_disarm());
	EXPECT_FALSE(client_is_running(&self->c));
	ASSERT_EQ(0, client_reset(&self->c));
	START_RUNNING();
	EXPECT_IO();
}

/* Holes that no list of keys can fill are an error and nothing worse */
TEST_F(mlx5, regions_too_far_apart_are_refused)
{
	ASSERT_EQ(0, client_map(&self->c));
	EXPECT_GT(0, client_map_at(&self->c, 0, BIT_ULL(62), self->far,
				   getpagesize()));
	EXPECT_GT(0, client_map_at(&self->c, 0, -getpagesize(), self->far,
				   getpagesize()));
	START_RUNNING();
	EXPECT_IO();
}

/* HUGE_SIZE bytes, physically contiguous; NULL if there is none */
static char *contiguous(void)
{
	size_t last = HUGE_SIZE - getpagesize();
	char *mem = huge_alloc(HUGE_SIZE);

	return mem && phys_addr(mem) && phys_addr(mem) + last ==
	       phys_addr(mem + last) ? mem : NULL;
}

/* Two small pages that are contiguous are not a larger one */
TEST_F(mlx5, pages_are_aligned_to_their_size)
{
	size_t page = getpagesize();
	char *mem = contiguous();

	if (!mem)
		SKIP(return, "no contiguous memory, or not root");
	EXPECT_EQ(0, client_map_at(&self->c, 0, FAR_IOVA, mem + page, 2 * page));
}

/* 1 GiB of addresses and a bit, in huge pages that are mapped several times */
#define HUGE_ALIASES	6
#define HUGE_PAGES	88UL
#define HUGE_CHUNK	(HUGE_PAGES * HUGE_SIZE)

static char *huge_pages(void)
{
	char *mem = huge_alloc(HUGE_CHUNK);
	unsigned int i;

	for (i = 0; mem && i < HUGE_PAGES; i++)
		if (!phys_addr(mem + i * HUGE_SIZE) || phys_addr(mem + i * HUGE_SIZE) % HUGE_SIZE)
			return NULL;

	return mem;
}

static int map_aliases(struct vdpa_client *c, uint64_t iova, char *mem)
{
	unsigned int i;
	int r = client_batch(c, 0, true);

	for (i = 0; !r && i < HUGE_ALIASES; i++)
		r = client_map_at(c, 0, iova + i * HUGE_CHUNK, mem, HUGE_CHUNK);

	return r ?: client_batch(c, 0, false);
}

/* Keys end at multiples of 1 GiB, but within no page: entries are of one size */
TEST_F(mlx5, large_pages_stay_large_wherever_they_are_mapped)
{
	const uint64_t first[] = { FAR_IOVA - getpagesize(),
				   FAR_IOVA - GIB / 2 - getpagesize() };
	char *mem = huge_pages();
	long entries, keys;
	unsigned int i;

	if (!mem || !may_pin_much())
		SKIP(return, "no huge pages, or not root");
	for (i = 0; i < ARRAY_SIZE(first); i++) {
		entries = mlx5_mock_objects("entry");
		keys = mlx5_mock_objects("mkey");
		ASSERT_EQ(0, map_aliases(&self->c, first[i], mem));
		EXPECT_GE((long)(HUGE_ALIASES * HUGE_PAGES),
			  mlx5_mock_objects("entry") - entries);
		/* With the list of them */
		EXPECT_GE(3, mlx5_mock_objects("mkey") - keys);
		ASSERT_EQ(0, client_unmap_at(&self->c, 0, first[i], HUGE_ALIASES * HUGE_CHUNK));
	}
	munmap(mem, HUGE_CHUNK);
}

/* A map that is no whole number of large pages long is cut before one of them, too */
TEST_F(mlx5, large_pages_stay_large_before_one_that_is_short)
{
	const uint64_t page = getpagesize(), middle = FAR_IOVA - HUGE_SIZE / 2 - page;
	char *mem = huge_pages();
	long entries;

	if (!mem || !may_pin_much())
		SKIP(return, "no huge pages, or not root");
	entries = mlx5_mock_objects("entry");
	ASSERT_EQ(0, client_batch(&self->c, 0, true));
	ASSERT_EQ(0, client_map_at(&self->c, 0, middle - HUGE_CHUNK, mem, HUGE_CHUNK));
	ASSERT_EQ(0, client_map_at(&self->c, 0, middle, mem, HUGE_SIZE - page));
	ASSERT_EQ(0, client_batch(&self->c, 0, false));
	EXPECT_GE((long)(HUGE_PAGES + HUGE_SIZE / page - 1),
		  mlx5_mock_objects("entry") - entries);
	ASSERT_EQ(0, client_unmap_at(&self->c, 0, middle - HUGE_CHUNK,
				     HUGE_CHUNK + HUGE_SIZE - page));
	munmap(mem, HUGE_CHUNK);
}

/* Two mappings of three pages, the rings and buffers in the second one */
TEST_F(mlx5, mappings_are_reached_where_they_are)
{
	struct client_page *page = self->c.page;
	size_t size = getpagesize();
	char *mem = contiguous();

	if (!mem)
		SKIP(return, "no contiguous memory, or not root");
	ASSERT_EQ(0, client_batch(&self->c, 0, true));
	ASSERT_EQ(0, client_map_at(&self->c, 0, FAR_IOVA, mem, 3 * size));
	ASSERT_EQ(0, client_map_at(&self->c, 0, FAR_IOVA + 3 * size,
				   mem + 5 * size, 3 * size));
	ASSERT_EQ(0, client_batch(&self->c, 0, false));

	self->c.iova = FAR_IOVA + 3 * size;
	self->c.page = (struct client_page *)(mem + 5 * size);
	START_RUNNING();
	EXPECT_IO();
	self->c.page = page;
}

TEST_F(mlx5, does_not_start_without_features)
{
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;

	ASSERT_EQ(0, client_map(&self->c));
	ioctl(self->c.fd, VHOST_VDPA_SET_STATUS, &status);
	EXPECT_FALSE(client_is_running(&self->c));
	ASSERT_EQ(0, client_reset(&self->c));
	START_RUNNING();
	EXPECT_IO();
}

static int get_mac(struct vdpa_client *c, uint8_t *mac)
{
	return client_get_config(c, offsetof(struct virtio_net_config, mac), mac, ETH_ALEN);
}

/* The old address is in force, in the configuration and in the port's table */
TEST_F(mlx5, failed_change_of_the_address_keeps_the_old_one)
{
	uint8_t old[ETH_ALEN], now[ETH_ALEN];
	unsigned int nth, failed = 1;
	int r = -1;

	ASSERT_EQ(0, client_map(&self->c));
	START_RUNNING();
	memcpy(old, self->c.mac, ETH_ALEN);
	for (nth = 1; failed && nth < 20; nth++) {
		self->c.mac[5]++;
		mlx5_mock_arm(nth, 0);
		r = client_ctrl(&self->c, IO_TIMEOUT_MS);
		failed = mlx5_mock_disarm();
		if (r)
			memcpy(self->c.mac, old, ETH_ALEN);
		memcpy(old, self->c.mac, ETH_ALEN);
		ASSERT_EQ(0, get_mac(&self->c, now));
		EXPECT_EQ(0, memcmp(old, now, ETH_ALEN)) {
			TH_LOG("command %u, %#x", nth, failed);
		}
		EXPECT_EQ(1, mlx5_mock_objects("l2_table_entry"));
		ASSERT_EQ(0, client_io(&self->c, IO_TIMEOUT_MS)) {
			TH_LOG("command %u, %#x", nth, failed);
		}
	}
	EXPECT_EQ(0, r);
	EXPECT_LT(3U, nth);
}

static void *map_doorbell(struct vdpa_client *c, int prot, int flags, unsigned int ring,
			  unsigned int pages)
{
	return mmap(NULL, pages * getpagesize(), prot, flags, c->fd,
		    (off_t)ring * getpagesize());
}

/* Until it is unmapped, the device cannot be deleted */
static bool has_doorbell(struct vdpa_client *c, int prot, int flags, unsigned int ring,
			 unsigned int pages)
{
	void *p = map_doorbell(c, prot, flags, ring, pages);

	return p != MAP_FAILED && !munmap(p, pages * getpagesize());
}

TEST_F(mlx5, doorbell_page_kicks_the_device)
{
	unsigned int i;
	void *page;

	EXPECT_FALSE(has_doorbell(&self->c, PROT_WRITE, MAP_SHARED, self->c.nvqs, 1));
	EXPECT_FALSE(has_doorbell(&self->c, PROT_WRITE, MAP_SHARED, 65536, 1));
	/* That of the control virtqueue is the driver's */
	EXPECT_FALSE(has_doorbell(&self->c, PROT_WRITE, MAP_SHARED, 2, 1));
	EXPECT_FALSE(has_doorbell(&self->c, PROT_WRITE, MAP_SHARED, 0, 2));
	EXPECT_FALSE(has_doorbell(&self->c, PROT_WRITE, MAP_PRIVATE, 0, 1));
	EXPECT_FALSE(has_doorbell(&self->c, PROT_READ, MAP_SHARED, 0, 1));
	EXPECT_FALSE(has_doorbell(&self->c, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 1));

	page = map_doorbell(&self->c, PROT_WRITE, MAP_SHARED, 1, 1);
	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, client_map(&self->c));
	START_RUNNING();
	EXPECT_IO();
	/* It may still be looking for more by itself, but not for long */
	self->c.doorbell = page;
	for (i = 0; i < 5; i++)
		EXPECT_IO();
	self->c.doorbell = NULL;
	munmap(page, getpagesize());
}

/* Nothing that a close needs can be refused */
TEST_F(mlx5, close_creates_no_key)
{
	long keys;

	ASSERT_EQ(0, client_map(&self->c));
	START_RUNNING();
	keys = mlx5_mock_commands(CREATE_MKEY);
	client_close(&self->c);
	EXPECT_EQ(keys, mlx5_mock_commands(CREATE_MKEY));
	EXPECT_EQ(1, mlx5_mock_objects("mkey"));
	ASSERT_VIRTIO_IO();
}

/* Firmware that lets no kernel own a queue: the driver is a user of its own */
FIXTURE(older_firmware)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	long pins;
	char *far;
};

FIXTURE_SETUP(older_firmware)
{
	const char *why;
	int r;

	self->c.fd = -1;
	SKIP_IF_MISSING(vdpa_load_parent(&mlx5, &why), why);
	ASSERT_EQ(0, mlx5_mock_set("umem_uid_0", 0));
	r = vdpa_dev_get(&self->dev, &mlx5, &why);
	if (r)
		mlx5_mock_set("umem_uid_0", 1);
	ASSERT_EQ(0, r);
	self->pins = pins_in_system();
	self->far = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

FIXTURE_TEARDOWN(older_firmware)
{
	client_close(&self->c);
	vdpa_dev_put(&self->dev);
	EXPECT_NO_VIOLATIONS();
	EXPECT_NOTHING_LEFT();
	EXPECT_EQ(self->pins, pins_in_system());
	EXPECT_EQ(0, mlx5_mock_set("umem_uid_0", 1));
}

TEST_F(older_firmware, serves_clients)
{
	bool unseen = false;
	int i;

	EXPECT_EQ(1, mlx5_mock_objects("uctx"));
	for (i = 0; i < 3; i++) {
		/* Nobody but a client can have memory mapped */
		EXPECT_EQ(0, mlx5_mock_objects("mkey"));
		ASSERT_EQ(0, client_open(&self->c, &self->dev, 0));
		ASSERT_EQ(0, client_ack(&self->c, self->c.features));
		ASSERT_EQ(0, session(&self->c, self->far, &unseen));
		client_close(&self->c);
	}
}

TEST_F(older_firmware, survives_failed_commands_of_a_creation)
{
	unsigned int nth, failed = 1;
	struct vdpa_genl g;
	int r = 0;

	vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, vdpa_genl_open(&g));
	for (nth = 1; failed && nth < MAX_FAULTS; nth++) {
		mlx5_mock_arm(nth, 0);
		r = vdpa_genl_add(&g, "vdpa_mlx5", &mlx5);
		failed = mlx5_mock_disarm();
		if (!r)
			ASSERT_EQ(0, vdpa_genl_del(&g, "vdpa_mlx5"));
		EXPECT_NOTHING_LEFT();
	}
	close(g.fd);
	EXPECT_EQ(0, r);
	EXPECT_LT(5U, nth);
}

/* Firmware that lets a suspended queue go on, and that which does not */
FIXTURE(running)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	long pins;
	bool in_advance;	/* there are queues before they are asked for */
};

FIXTURE_VARIANT(running)
{
	bool resumable;
};

FIXTURE_VARIANT_ADD(running, resumable)
{
	.resumable = true,
};

FIXTURE_VARIANT_ADD(running, not_resumable)
{
	.resumable = false,
};

FIXTURE_SETUP(running)
{
	const char *why;
	int r;

	self->c.fd = -1;
	SKIP_IF_MISSING(vdpa_load_parent(&mlx5, &why), why);
	ASSERT_EQ(0, mlx5_mock_set_firmware("freeze_to_rdy", variant->resumable));
	ASSERT_EQ(0, vdpa_dev_get(&self->dev, &mlx5, &why));
	self->in_advance = mlx5_mock_objects("virtio_net_q");
	self->pins = pins_in_system();
	r = client_open(&self->c, &self->dev, 0);
	r = r ?: client_ack(&self->c, self->c.features) ?: client_map(&self->c) ?:
	    client_start(&self->c) ?: client_io(&self->c, IO_TIMEOUT_MS);
	if (r)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
}

FIXTURE_TEARDOWN(running)
{
	mlx5_mock_disarm();
	mlx5_mock_set("async_all", 0);
	mlx5_mock_set("async_err", 0);
	client_close(&self->c);
	vdpa_dev_put(&self->dev);
	EXPECT_NO_VIOLATIONS();
	EXPECT_NOTHING_LEFT();
	EXPECT_EQ(self->pins, pins_in_system());
	EXPECT_EQ(0, mlx5_mock_set_firmware("freeze_to_rdy", 0));
}

static int enable(struct vdpa_client *c, unsigned int vq, bool on)
{
	struct vhost_vring_state state = { .index = vq, .num = on };

	return ioctl(c->fd, VHOST_VDPA_SET_VRING_ENABLE, &state) ? -errno : 0;
}

static bool is_ready(unsigned int vq)
{
	char key[32];

	snprintf(key, sizeof(key), "%u RDY avail ", vq);

	return read_key(MLX5_MOCK "queues", key) >= 0;
}

TEST_F(running, empty_map_cuts_the_device_off)
{
	ASSERT_EQ(0, client_unmap(&self->c));
	EXPECT_NO_IO();
	ASSERT_EQ(0, client_reset(&self->c));
	ASSERT_EQ(0, client_map(&self->c));
	START();
	EXPECT_IO();
}

/* The first is disabled, and the second must not keep what is unmapped */
TEST_F(running, disabled_queue_takes_no_old_key_along)
{
	if (enable(&self->c, 0, false))
		SKIP(return, "a queue cannot be disabled here");
	ASSERT_EQ(0, client_unmap(&self->c));
	EXPECT_NO_IO();
}

TEST_F(running, disabled_queue_does_not_keep_others_running)
{
	if (enable(&self->c, 0, false))
		SKIP(return, "a queue cannot be disabled here");
	EXPECT_TRUE(is_ready(1));
	ASSERT_EQ(0, client_suspend(&self->c));
	EXPECT_FALSE(is_ready(1));
}

TEST_F(running, queue_that_is_disabled_stays_so_when_the_map_changes)
{
	char *far = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (enable(&self->c, 0, false))
		SKIP(return, "a queue cannot be disabled here");
	ASSERT_EQ(0, map_far(&self->c, far));
	EXPECT_FALSE(is_ready(0));
	EXPECT_TRUE(is_ready(1));
}

/*
 * How many commands a step takes, how many of these have to wait for each other, and
 * how many create completion queues. The driver of newer kernels, which has queues in
 * advance, takes others.
 */
#define EXPECT_COMMANDS(_max, _waits, _channels, _step)			\
do {									\
	long _n = mlx5_mock_get("total"), _chain = mlx5_mock_get("chain"); \
	long _cq = mlx5_mock_commands(CREATE_CQ);			\
									\
	mlx5_mock_set("async_all", 1);					\
	ASSERT_EQ(0, _step);						\
	mlx5_mock_set("async_all", 0);					\
	if (self->in_advance)						\
		break;							\
	EXPECT_LE(mlx5_mock_get("total") - _n, _max);			\
	EXPECT_LE(mlx5_mock_get("chain") - _chain, _waits);		\
	EXPECT_EQ(_channels, mlx5_mock_commands(CREATE_CQ) - _cq);	\
} while (0)

TEST_F(running, restart_creates_what_depends_on_the_client)
{
	EXPECT_COMMANDS(32, 17, 0, client_reset(&self->c) ?: client_start(&self->c));
	EXPECT_IO();
	EXPECT_COMMANDS(32, 17, 0, client_reset(&self->c) ?: client_start(&self->c));
	EXPECT_IO();
}

/* By then its virtqueue is gone, and the next driver is not ready for it */
TEST_F(running, late_interrupt_calls_nobody_before_the_start)
{
	unsigned int i;

	ASSERT_EQ(0, client_reset(&self->c));
	ASSERT_EQ(0, client_want_calls(&self->c));
	ASSERT_EQ(0, client_start(&self->c));
	ASSERT_EQ(0, mlx5_mock_set("hold_irqs", 1));
	EXPECT_IO();
	ASSERT_EQ(0, client_reset(&self->c));
	for (i = 0; i < self->c.nvqs; i++)
		ASSERT_EQ(0, client_set_call(&self->c, i));
	ASSERT_EQ(0, mlx5_mock_set("hold_irqs", 0));
	EXPECT_EQ(-ETIMEDOUT, client_wait_call(&self->c, 100));

	ASSERT_EQ(0, client_start(&self->c));
	EXPECT_IO();
	EXPECT_EQ(0, client_wait_call(&self->c, IO_TIMEOUT_MS));
}

/* Each of the two ends up where the completions of its own size can be reported */
TEST_F(running, queues_of_another_size_report_to_another_place)
{
	client_close(&self->c);
	EXPECT_COMMANDS(1000, 1000, 2, vdpa_bind(&self->dev, "virtio_vdpa"));
	EXPECT_COMMANDS(1000, 1000, 0, vdpa_bind(&self->dev, "vhost_vdpa"));
}

/* As far as firmware lets it */
TEST_F(running, map_change_leaves_alone_what_does_not_depend_on_it)
{
	char *far = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	const long max = variant->resumable ? 9 : 35, waits = variant->resumable ? 6 : 20;
	long queues = mlx5_mock_commands(CREATE_OBJECT);
	long rules = mlx5_mock_commands(SET_RULE), tirs = mlx5_mock_commands(CREATE_TIR);

	EXPECT_COMMANDS(max, waits, 0, map_far(&self->c, far));
	EXPECT_IO();
	EXPECT_COMMANDS(max, waits, 0, client_unmap_at(&self->c, 0, FAR_IOVA, getpagesize()));
	EXPECT_IO();
	if (!variant->resumable || self->in_advance)
		return;
	EXPECT_EQ(queues, mlx5_mock_commands(CREATE_OBJECT));
	EXPECT_EQ(rules, mlx5_mock_commands(SET_RULE));
	EXPECT_EQ(tirs, mlx5_mock_commands(CREATE_TIR));
}

/* If one does not go on, all are replaced; if one of these is refused, the map is */
TEST_F(running, map_change_survives_a_queue_that_does_not_go_on)
{
	char *far = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	unsigned int nth;
	int r;

	/* Two that suspend, and two that make ready */
	for (nth = 3; nth <= 4; nth++) {
		mlx5_mock_arm(nth, MODIFY_OBJECT);
		r = map_far(&self->c, far);
		EXPECT_EQ(MODIFY_OBJECT, mlx5_mock_disarm());
		if (!self->in_advance)
			EXPECT_EQ(variant->resumable, !r);
		EXPECT_IO();
		if (!r)
			EXPECT_EQ(0, client_unmap_at(&self->c, 0, FAR_IOVA, getpagesize()));
		EXPECT_IO();
	}
}

static int set_base(struct vdpa_client *c, unsigned int vq, unsigned int idx)
{
	struct vhost_vring_state base = { .index = vq, .num = idx };

	return ioctl(c->fd, VHOST_SET_VRING_BASE, &base) ? -errno : 0;
}

static int set_sizes(struct vdpa_client *c, unsigned int num)
{
	struct vhost_vring_state size = { .num = num };
	int r = 0;

	for (; !r && size.index < 2; size.index++)
		r = ioctl(c->fd, VHOST_SET_VRING_NUM, &size) ? -errno : 0;

	return r;
}

static long avail_of(unsigned int vq)
{
	char key[32];

	snprintf(key, sizeof(key), "%u RDY avail ", vq);

	return read_key(MLX5_MOCK "queues", key);
}

/* A queue that was stopped, when the other could not be, is where the client puts it */
TEST_F(running, map_change_leaves_a_queue_where_the_client_puts_it)
{
	char *far = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	unsigned int vq;
	int r;

	mlx5_mock_arm(1, MODIFY_OBJECT);
	EXPECT_GT(0, client_suspend(&self->c));
	EXPECT_EQ(MODIFY_OBJECT, mlx5_mock_disarm());
	vq = is_ready(0);
	if (is_ready(vq))
		SKIP(return, "no queue was stopped");
	/* Where it has nothing to do */
	self->c.page->ring[vq].avail.idx = 77;
	r = set_base(&self->c, vq, 77);
	if (r == -EINVAL)
		SKIP(return, "this kernel takes no index, as the suspend failed");
	ASSERT_EQ(0, r);
	ASSERT_EQ(0, map_far(&self->c, far));
	EXPECT_EQ(77, avail_of(vq));
}

/* One could go on and the other could not: neither does */
TEST_F(running, resume_that_fails_leaves_the_device_suspended)
{
	if (!(self->c.features & BIT_ULL(VHOST_BACKEND_F_RESUME)))
		SKIP(return, "no resume in this kernel");
	ASSERT_EQ(0, client_suspend(&self->c));
	mlx5_mock_arm(2, MODIFY_OBJECT);
	EXPECT_GT(0, client_resume(&self->c));
	EXPECT_EQ(MODIFY_OBJECT, mlx5_mock_disarm());
	EXPECT_FALSE(is_ready(0));
	EXPECT_FALSE(is_ready(1));
	EXPECT_EQ(0, client_resume(&self->c));
	EXPECT_IO();
}

/* What has let a queue down is not given to the next one */
TEST_F(running, queue_in_error_leaves_nothing_to_the_next)
{
	long cqs;

	ASSERT_EQ(0, client_unmap(&self->c));
	EXPECT_NO_IO();
	cqs = mlx5_mock_commands(CREATE_CQ);
	ASSERT_EQ(0, client_reset(&self->c));
	ASSERT_EQ(0, client_map(&self->c));
	START();
	if (!self->in_advance)
		EXPECT_LT(cqs, mlx5_mock_commands(CREATE_CQ));
	EXPECT_IO();
}

/* Nor is what may have kept one from being created, or from getting ready */
TEST_F(running, queue_that_did_not_start_leaves_nothing_to_the_next)
{
	static const unsigned int opcodes[] = { CREATE_OBJECT, MODIFY_OBJECT };
	unsigned int i;

	for (i = 0; !self->in_advance && i < ARRAY_SIZE(opcodes); i++) {
		ASSERT_EQ(0, client_reset(&self->c));
		mlx5_mock_arm(1, opcodes[i]);
		START();
		EXPECT_EQ(opcodes[i], mlx5_mock_disarm());
		EXPECT_FALSE(client_is_running(&self->c));
		EXPECT_COMMANDS(1000, 1000, 1,
				client_reset(&self->c) ?: client_start(&self->c));
		EXPECT_IO();
	}
}

/* It is another one than that which was there before, and may have nothing of it */
TEST_F(running, channel_that_cannot_be_made_anew_leaves_nothing)
{
	static const unsigned int opcodes[] = { CREATE_CQ, CREATE_QP, RTR2RTS_QP };
	unsigned int i;

	for (i = 0; !self->in_advance && i < ARRAY_SIZE(opcodes); i++) {
		/* A virtqueue that is not created costs it its channel */
		ASSERT_EQ(0, client_reset(&self->c));
		mlx5_mock_arm(1, CREATE_OBJECT);
		START();
		EXPECT_EQ(CREATE_OBJECT, mlx5_mock_disarm());
		ASSERT_EQ(0, client_reset(&self->c));
		mlx5_mock_arm(1, opcodes[i]);
		START();
		EXPECT_EQ(opcodes[i], mlx5_mock_disarm());
		EXPECT_FALSE(client_is_running(&self->c));
		ASSERT_EQ(0, client_reset(&self->c));
		START_RUNNING();
		EXPECT_IO();
	}
}

/* It is the kernel's memory, and nobody's share of it. The client names a size at any time */
TEST_F(running, place_for_more_completions_than_a_driver_has_is_given_up)
{
	static const unsigned int sizes[] = { 256, 512 };
	char *far = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	unsigned int i;
	long gone;

	for (i = 0; !self->in_advance && i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(0, set_sizes(&self->c, sizes[i]));
		EXPECT_COMMANDS(1000, 1000, 2, map_far(&self->c, far));
		ASSERT_EQ(0, set_sizes(&self->c, CLIENT_RING_NUM));
		gone = mlx5_mock_commands(DESTROY_CQ);
		ASSERT_EQ(0, client_reset(&self->c));
		EXPECT_EQ(sizes[i] > 256 ? 2 : 0, mlx5_mock_commands(DESTROY_CQ) - gone);
		ASSERT_EQ(0, client_unmap_at(&self->c, 0, FAR_IOVA, getpagesize()));
		START_RUNNING();
		EXPECT_IO();
	}
}

/* What the driver destroys there is gone: it may go on with another one in its place */
TEST_F(running, function_that_goes_away_keeps_nothing)
{
	char *far = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	const long stuck = mlx5_mock_get("stuck");

	if (self->in_advance)
		return;
	ASSERT_EQ(0, map_far(&self->c, far));
	ASSERT_EQ(0, mlx5_mock_set("async_err", ENXIO));
	EXPECT_EQ(0, client_reset(&self->c));
	EXPECT_EQ(0, client_batch(&self->c, 0, true));
	EXPECT_EQ(0, client_unmap(&self->c));
	EXPECT_EQ(0, client_unmap_at(&self->c, 0, FAR_IOVA, getpagesize()));
	EXPECT_EQ(0, client_batch(&self->c, 0, false));
	ASSERT_EQ(0, mlx5_mock_set("async_err", 0));
	EXPECT_EQ(0, mlx5_mock_objects("virtio_net_q"));
	EXPECT_EQ(1, mlx5_mock_objects("mkey"));
	EXPECT_EQ(stuck, mlx5_mock_get("stuck"));
	ASSERT_EQ(0, client_map(&self->c));
	START_RUNNING();
	EXPECT_IO();
}

/* Firmware keeps the list of keys that a plug replaces. Of these, some are in the next
 * list, too: what goes out of that one stays within reach, and belongs to nobody else.
 */
TEST_F(running, unmapped_pages_of_a_list_that_stays_are_kept)
{
	char *far = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	const long stuck = mlx5_mock_get("stuck");
	long destroyed;

	mlx5_mock_arm(1, DESTROY_MKEY);
	ASSERT_EQ(0, map_far(&self->c, far));
	EXPECT_EQ(DESTROY_MKEY, mlx5_mock_disarm());
	EXPECT_LT(stuck, mlx5_mock_get("stuck"));
	ASSERT_EQ(0, client_unmap(&self->c));
	/* With each command, the model looks at what has become of the pages */
	ASSERT_EQ(0, client_unmap_at(&self->c, 0, FAR_IOVA, getpagesize()));
	EXPECT_NO_VIOLATIONS();
	/* The next attempt: the list, and the key in it */
	destroyed = mlx5_mock_commands(DESTROY_MKEY);
	ASSERT_EQ(0, client_reset(&self->c));
	EXPECT_EQ(2, mlx5_mock_commands(DESTROY_MKEY) - destroyed);
	ASSERT_EQ(0, client_map(&self->c));
	START_RUNNING();
	EXPECT_IO();
}

/* What the device finds wrong in a queue is in nobody's way */
TEST_F(running, map_changes_with_a_queue_in_error)
{
	ASSERT_EQ(0, client_unmap(&self->c));
	EXPECT_NO_IO();
	ASSERT_EQ(0, client_map(&self->c));
	ASSERT_EQ(0, client_unmap(&self->c));
}

TEST_F(running, goes_on_when_the_map_changes)
{
	char *far = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, map_far(&self->c, far));
		ASSERT_IO();
		ASSERT_EQ(0, client_unmap_at(&self->c, 0, FAR_IOVA, getpagesize()));
		ASSERT_IO();
		EXPECT_EQ(0, client_ctrl(&self->c, IO_TIMEOUT_MS));
	}
}

/* Memory of the test's own, with a frame in it that is not like the other one */
static uint8_t *frame_page(struct vdpa_client *c, uint8_t tag)
{
	const size_t hdr = sizeof(struct virtio_net_hdr_v1);
	uint8_t *page = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (page == MAP_FAILED)
		abort();
	memset(page, tag, getpagesize());
	memset(page, 0, hdr);
	memcpy(page + hdr, c->mac, sizeof(c->mac));
	memset(page + hdr + sizeof(c->mac), 0, sizeof(c->mac));

	return page;
}

/* Have the device read a frame at @iova. Returns its tag, or 0 if it does not */
static int tag_at(struct vdpa_client *c, uint64_t iova)
{
	struct vring_desc *desc = c->page->ring[1].desc;

	memset(c->page->in, 0, sizeof(c->page->in));
	client_post_buffer(c, 0);
	/* Its address is replaced before anybody is told */
	client_post_frame(c, 0);
	desc[0].addr = iova;
	if (client_kick(c, 1) || client_wait(c, 1, IO_TIMEOUT_MS) ||
	    client_wait(c, 0, IO_TIMEOUT_MS))
		return 0;

	return c->page->in[sizeof(c->page->in) - 1];
}

/* Have the device write a frame at @iova. Does it? */
static bool can_write(struct vdpa_client *c, uint64_t iova, int timeout_ms)
{
	const size_t hdr = sizeof(struct virtio_net_hdr_v1);

	memset(c->page->out, 0, hdr);
	client_fill_frame(c, c->page->out + hdr, sizeof(c->page->out) - hdr);
	client_post_buffer(c, 0);
	c->page->ring[0].desc[0].addr = iova;
	client_post_frame(c, 0);

	return !client_kick(c, 1) && !client_wait(c, 0, timeout_ms);
}

/* Two pages, which the driver has one key for, or one each */
FIXTURE(replace)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	uint8_t *a;
	uint8_t *b;
	uint64_t iova_b;
	long pins;
};

FIXTURE_VARIANT(replace)
{
	unsigned int gap;
};

FIXTURE_VARIANT_ADD(replace, in_one_key)
{
	.gap = 0,
};

FIXTURE_VARIANT_ADD(replace, in_two_keys)
{
	.gap = 1,
};

FIXTURE_SETUP(replace)
{
	size_t page = getpagesize();
	const char *why;
	int r;

	self->c.fd = -1;
	self->pins = pins_in_system();
	r = vdpa_dev_get(&self->dev, &mlx5, &why);
	if (!r && !self->dev.created)
		SKIP(return, "does not need the device that -d names");
	SKIP_IF_MISSING(r, why);
	r = client_open(&self->c, &self->dev, 0);
	r = r ?: client_ack(&self->c, self->c.features) ?: client_map(&self->c) ?:
	    client_start(&self->c);
	self->iova_b = FAR_IOVA + (1 + variant->gap) * page;
	if (!r) {
		self->a = frame_page(&self->c, 'a');
		self->b = frame_page(&self->c, 'b');
		r = client_map_at(&self->c, 0, FAR_IOVA, self->a, page) ?:
		    client_map_at(&self->c, 0, self->iova_b, self->b, page);
	}
	if (r)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
}

FIXTURE_TEARDOWN(replace)
{
	client_close(&self->c);
	vdpa_dev_put(&self->dev);
	EXPECT_NO_VIOLATIONS();
	EXPECT_NOTHING_LEFT();
	EXPECT_EQ(self->pins, pins_in_system());
}

/* One batch takes away what is there, and puts something else in its place */
#define REPLACE(_a, _perm_a, _b, _perm_b)				\
do {									\
	size_t _page = getpagesize();					\
									\
	ASSERT_EQ(0, batch_begin());					\
	ASSERT_EQ(0, unmap_at(FAR_IOVA, _page));			\
	ASSERT_EQ(0, unmap_at(self->iova_b, _page));			\
	ASSERT_EQ(0, client_map_perm(&self->c, 0, FAR_IOVA, _a, _page, _perm_a)); \
	ASSERT_EQ(0, client_map_perm(&self->c, 0, self->iova_b, _b, _page, _perm_b)); \
	ASSERT_EQ(0, batch_end());					\
} while (0)

TEST_F(replace, other_pages_at_the_same_address)
{
	uint8_t *c = frame_page(&self->c, 'c');

	EXPECT_EQ('a', tag_at(&self->c, FAR_IOVA));
	EXPECT_EQ('b', tag_at(&self->c, self->iova_b));
	REPLACE(self->a, VHOST_ACCESS_RW, c, VHOST_ACCESS_RW);
	EXPECT_EQ('a', tag_at(&self->c, FAR_IOVA));
	EXPECT_EQ('c', tag_at(&self->c, self->iova_b));
}

TEST_F(replace, pages_that_change_places)
{
	REPLACE(self->b, VHOST_ACCESS_RW, self->a, VHOST_ACCESS_RW);
	EXPECT_EQ('b', tag_at(&self->c, FAR_IOVA));
	EXPECT_EQ('a', tag_at(&self->c, self->iova_b));
}

TEST_F(replace, same_pages_with_fewer_rights)
{
	EXPECT_TRUE(can_write(&self->c, FAR_IOVA, IO_TIMEOUT_MS));
	EXPECT_TRUE(can_write(&self->c, self->iova_b, IO_TIMEOUT_MS));
	REPLACE(self->a, VHOST_ACCESS_RO, self->b, VHOST_ACCESS_RO);
	/* What was written there is a frame, too */
	EXPECT_NE(0, tag_at(&self->c, self->iova_b));
	EXPECT_FALSE(can_write(&self->c, self->iova_b, NO_IO_MS));
}

TEST_F(replace, same_pages_with_more_rights)
{
	REPLACE(self->a, VHOST_ACCESS_RO, self->b, VHOST_ACCESS_RO);
	REPLACE(self->a, VHOST_ACCESS_RO, self->b, VHOST_ACCESS_RW);
	EXPECT_TRUE(can_write(&self->c, self->iova_b, IO_TIMEOUT_MS));
	EXPECT_FALSE(can_write(&self->c, FAR_IOVA, NO_IO_MS));
}

/* Have so many pages of @mem there instead of so many, at once */
static int resize(struct vdpa_client *c, const char *mem, size_t from, size_t to)
{
	const size_t page = getpagesize();

	return client_batch(c, 0, true) ?:
	       client_unmap_at(c, 0, FAR_IOVA, from * page) ?:
	       client_map_at(c, 0, FAR_IOVA, mem, to * page) ?:
	       client_batch(c, 0, false);
}

/* Pages that follow each other are one map */
TEST_F(mlx5, map_that_gets_longer_or_shorter_is_another_one)
{
	const uint64_t page = getpagesize(), third = FAR_IOVA + 2 * page;
	char *mem = contiguous();

	if (!mem)
		SKIP(return, "no contiguous memory, or not root");
	ASSERT_EQ(0, client_map(&self->c));
	ASSERT_EQ(0, client_map_at(&self->c, 0, FAR_IOVA, mem, 2 * page));
	START_RUNNING();
	EXPECT_EQ(0, resize(&self->c, mem, 2, 3));
	EXPECT_TRUE(can_write(&self->c, third, IO_TIMEOUT_MS));
	EXPECT_EQ(0, resize(&self->c, mem, 3, 2));
	EXPECT_TRUE(can_write(&self->c, third - page, IO_TIMEOUT_MS));
	EXPECT_FALSE(can_write(&self->c, third, NO_IO_MS));
}

/* How much a change costs with so many regions there already */
FIXTURE(hotplug)
{
	struct vdpa_dev dev;
	struct vdpa_client c;
	char *mem;
	long pins;
};

FIXTURE_VARIANT(hotplug)
{
	unsigned int regions;
};

FIXTURE_VARIANT_ADD(hotplug, with_1)
{
	.regions = 1,
};

FIXTURE_VARIANT_ADD(hotplug, with_100)
{
	.regions = 100,
};

FIXTURE_VARIANT_ADD(hotplug, with_1000)
{
	.regions = 1000,
};

FIXTURE_SETUP(hotplug)
{
	size_t page = getpagesize();
	const char *why;
	unsigned int i;
	int r;

	self->c.fd = -1;
	self->pins = pins_in_system();
	r = vdpa_dev_get(&self->dev, &mlx5, &why);
	if (!r && !self->dev.created)
		SKIP(return, "does not need the device that -d names");
	SKIP_IF_MISSING(r, why);
	self->mem = mmap(NULL, (variant->regions + 1) * page,
			 PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	r = client_open(&self->c, &self->dev, 0);
	if (!r)
		r = client_ack(&self->c, self->c.features);
	if (!r)
		r = client_batch(&self->c, 0, true);
	if (!r)
		r = client_map(&self->c);
	/* With holes, so that each is a region of its own */
	for (i = 0; !r && i < variant->regions; i++)
		r = client_map_at(&self->c, 0, FAR_IOVA + 2 * i * page,
				  self->mem + i * page, page);
	if (!r)
		r = client_batch(&self->c, 0, false);
	if (r)
		vdpa_dev_put(&self->dev);
	ASSERT_EQ(0, r);
}

FIXTURE_TEARDOWN(hotplug)
{
	client_close(&self->c);
	vdpa_dev_put(&self->dev);
	EXPECT_NO_VIOLATIONS();
	EXPECT_NOTHING_LEFT();
	EXPECT_EQ(self->pins, pins_in_system());
}

#define EXPECT_COST(_creates, _destroys, _change)			\
do {									\
	long _c = mlx5_mock_commands(CREATE_MKEY);			\
	long _d = mlx5_mock_commands(DESTROY_MKEY);			\
									\
	ASSERT_EQ(0, _change);						\
	EXPECT_EQ(_creates, mlx5_mock_commands(CREATE_MKEY) - _c);	\
	EXPECT_EQ(_destroys, mlx5_mock_commands(DESTROY_MKEY) - _d);	\
} while (0)

#define PLUG()								\
	client_map_at(&self->c, 0, 2 * FAR_IOVA,			\
		      self->mem + variant->regions * getpagesize(),	\
		      getpagesize())

#define UNPLUG()							\
	client_unmap_at(&self->c, 0, 2 * FAR_IOVA, getpagesize())

/* A key for the region, and the one that lists all keys anew */
TEST_F(hotplug, costs_what_is_plugged)
{
	EXPECT_COST(2, 1, PLUG());
	EXPECT_COST(1, 2, UNPLUG());
	ASSERT_EQ(0, client_start(&self->c));
	EXPECT_EQ(0, client_io(&self->c, IO_TIMEOUT_MS));
	EXPECT_COST(2, 1, PLUG());
	EXPECT_EQ(0, client_io(&self->c, IO_TIMEOUT_MS));
	EXPECT_COST(1, 2, UNPLUG());
	EXPECT_EQ(0, client_io(&self->c, IO_TIMEOUT_MS));
}

/* Without the one that asks for the link after a start, which comes from a workqueue */
static long commands_but_for_the_link(void)
{
	long links, total;

	do {
		links = mlx5_mock_commands(QUERY_VPORT_STATE);
		total = mlx5_mock_get("total");
	} while (links != mlx5_mock_commands(QUERY_VPORT_STATE));

	return total - links;
}

/* What is replaced by the same is left alone, and so is the device */
TEST_F(hotplug, same_map_costs_nothing)
{
	size_t page = getpagesize();
	unsigned int running;
	long commands;

	for (running = 0; running < 2; running++) {
		if (running)
			ASSERT_EQ(0, client_start(&self->c));
		commands = commands_but_for_the_link();
		ASSERT_EQ(0, batch_begin());
		ASSERT_EQ(0, unmap_at(FAR_IOVA, page));
		ASSERT_EQ(0, map_at(FAR_IOVA, self->mem, page));
		ASSERT_EQ(0, batch_end());
		EXPECT_EQ(commands, commands_but_for_the_link());
	}
	EXPECT_EQ(0, client_io(&self->c, IO_TIMEOUT_MS));
}

/* A thread that sets the address of a network interface until it is gone */
static void *set_address(void *arg)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq ifr = {};
	unsigned int i;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", (char *)arg);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		abort();
	for (i = 0; ; i++) {
		ifr.ifr_hwaddr.sa_data[5] = i;
		if (ioctl(fd, SIOCSIFHWADDR, &ifr) && errno == ENODEV)
			break;
	}
	close(fd);

	return NULL;
}

TEST_F(mlx5, removal_leaves_no_control_command_without_an_answer)
{
	pthread_t thread;
	char node[256];
	int i;

	client_close(&self->c);
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, vdpa_bind(&self->dev, "virtio_vdpa"));
		ASSERT_EQ(0, virtio_node(&self->dev, node, sizeof(node)));
		ASSERT_EQ(0, pthread_create(&thread, NULL, set_address, node));
		usleep(5000);
		vdpa_dev_put(&self->dev);
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_NOTHING_LEFT();
		ASSERT_EQ(0, vdpa_dev_get(&self->dev, &mlx5, &(const char *) { NULL }));
	}
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
