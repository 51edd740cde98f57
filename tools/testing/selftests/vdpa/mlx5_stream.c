// SPDX-License-Identifier: GPL-2.0
/*
 * mlx5_vdpa on the model of its firmware: no descriptor is lost or used twice,
 * whatever happens to the device meanwhile.
 *
 * A client with two pairs of queues, or many, sends numbered frames to itself, every other
 * one with a VLAN tag, while its memory map changes, while it is suspended or
 * reset and goes on, while pairs are taken away and given back, and while
 * commands to the firmware fail. What is checked:
 *
 * - each ring is used in the order in which it was filled, each entry once; the
 *   index does not run backwards;
 * - no number arrives twice. What does not arrive is known to the model as a
 *   frame that nobody was there to receive;
 * - a device that stopped moves nothing; one that runs still loses nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

#define PAIRS		2
#define MAX_PAIRS	16
#define MAX_RINGS	(2 * MAX_PAIRS + 1)
#define NUM		16		/* entries of a ring */
#define FRAME		64
#define FRAMES		65536		/* that a test may send */
#define VID		5
#define VLAN_N_VID	4096
#define HDR		sizeof(struct virtio_net_hdr_v1)
#define NUMBER_AT	(HDR + 32)	/* behind the longest header */

#define IOVA		0x100000ULL
#define FAR_IOVA	BIT_ULL(32)
#define DRAIN_MS	5000
/* The commands for 32 queues take seconds in a slow kernel on a busy host */
#define CTRL_MS		20000
#define MAX_FAULTS	1000
#define ROUNDS		10
#define TIMEOUT		240		/* seconds, for a slow kernel */

#define S_FOUND		(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define S_FEATURES	(S_FOUND | VIRTIO_CONFIG_S_FEATURES_OK)
#define S_RUNNING	(S_FEATURES | VIRTIO_CONFIG_S_DRIVER_OK)

#define FEATURES	(BIT_ULL(VIRTIO_F_VERSION_1) |			\
			 BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) |		\
			 BIT_ULL(VIRTIO_NET_F_MAC) |			\
			 BIT_ULL(VIRTIO_NET_F_STATUS) |			\
			 BIT_ULL(VIRTIO_NET_F_CTRL_VQ) |		\
			 BIT_ULL(VIRTIO_NET_F_CTRL_VLAN) |		\
			 BIT_ULL(VIRTIO_NET_F_MQ))

struct ring {
	struct vring_desc desc[NUM];
	struct {
		uint16_t flags;
		uint16_t idx;
		uint16_t ring[NUM];
	} alignas(64) avail;
	struct {
		uint16_t flags;
		uint16_t idx;
		struct vring_used_elem ring[NUM];
	} alignas(64) used;
};

struct stream_page {
	struct ring ring[MAX_RINGS];
	uint8_t frame[2 * MAX_PAIRS][NUM][FRAME];
	uint8_t ctrl[64];
};

struct stream {
	struct vdpa_parent parent;
	struct vdpa_dev dev;
	struct vdpa_client c;		/* for its mappings */
	struct stream_page *page;
	char *far;			/* a page to plug and to unplug */
	bool plugged;
	bool in_advance;		/* there are queues before they are asked for */
	long pins;			/* in the system without this client */
	int kick[MAX_RINGS];
	unsigned int all_pairs;		/* that the device has */
	unsigned int pairs;		/* that it was told to use */
	uint16_t seen[MAX_RINGS];	/* index up to which it was looked at */
	uint32_t next[MAX_PAIRS];	/* number of the next frame */
	uint8_t got[MAX_PAIRS][FRAMES];	/* how often did it arrive? */
	/* Frames sent, arrived, and what the model said when there were none */
	long sent;
	long arrived;
	long frames;
	long dropped;
	char why[160];			/* something is wrong */
};

#define wrong(_s, ...)							\
	(snprintf((_s)->why, sizeof((_s)->why), __VA_ARGS__), -EBADMSG)

/* The control queue, which comes after the others */
static unsigned int cvq(const struct stream *s)
{
	return 2 * s->all_pairs;
}

static unsigned int rings(const struct stream *s)
{
	return cvq(s) + 1;
}

static uint16_t used_idx(const struct stream *s, unsigned int i)
{
	return __atomic_load_n(&s->page->ring[i].used.idx, __ATOMIC_ACQUIRE);
}

/* Entries that are with the device */
static unsigned int posted(const struct stream *s, unsigned int i)
{
	return (uint16_t)(s->page->ring[i].avail.idx - s->seen[i]);
}

static uint64_t addr_of(const struct stream *s, const void *p)
{
	return IOVA + ((const uint8_t *)p - (const uint8_t *)s->page);
}

static void post(struct stream *s, unsigned int i, unsigned int slot)
{
	uint16_t *idx = &s->page->ring[i].avail.idx;

	s->page->ring[i].avail.ring[*idx % NUM] = slot;
	__atomic_store_n(idx, *idx + 1, __ATOMIC_RELEASE);
}

static int kick(struct stream *s, unsigned int i)
{
	return eventfd_write(s->kick[i], 1) ? -errno : 0;
}

/* Queues of pair @p */
static unsigned int rx(unsigned int p)
{
	return 2 * p;
}

static unsigned int tx(unsigned int p)
{
	return 2 * p + 1;
}

static void post_buffer(struct stream *s, unsigned int p)
{
	unsigned int slot = s->page->ring[rx(p)].avail.idx % NUM;
	uint8_t *buf = s->page->frame[rx(p)][slot];

	memset(buf, 0xff, FRAME);
	s->page->ring[rx(p)].desc[slot] = (struct vring_desc) {
		.addr = addr_of(s, buf), .len = FRAME, .flags = VRING_DESC_F_WRITE,
	};
	post(s, rx(p), slot);
}

/* From an address that tells the model the pair, to whoever has that of the device */
static void post_frame(struct stream *s, unsigned int p)
{
	unsigned int slot = s->page->ring[tx(p)].avail.idx % NUM;
	uint8_t *buf = s->page->frame[tx(p)][slot], *eth = buf + HDR;
	const uint16_t tag[] = { htobe16(ETH_P_8021Q), htobe16(VID) };
	uint32_t number[] = { p, s->next[p]++ };

	if (number[1] == FRAMES)
		abort();
	memset(buf, 0, FRAME);
	memcpy(eth, s->c.mac, ETH_ALEN);
	eth[2 * ETH_ALEN - 1] = p;
	if (number[1] % 2)
		memcpy(eth + 2 * ETH_ALEN, tag, sizeof(tag));
	memcpy(buf + NUMBER_AT, number, sizeof(number));
	s->page->ring[tx(p)].desc[slot] = (struct vring_desc) {
		.addr = addr_of(s, buf), .len = FRAME,
	};
	post(s, tx(p), slot);
	s->sent++;
}

/* As many buffers as there is room for, and up to @n frames, for each pair */
static int burst(struct stream *s, unsigned int n)
{
	unsigned int p, i;
	int r = 0;

	for (p = 0; p < s->pairs; p++) {
		while (posted(s, rx(p)) < NUM)
			post_buffer(s, p);
		for (i = 0; i < n && posted(s, tx(p)) < NUM; i++)
			post_frame(s, p);
		r = r ?: kick(s, tx(p));
	}

	return r;
}

static int receive(struct stream *s, unsigned int i, unsigned int slot)
{
	uint32_t number[2];

	memcpy(number, s->page->frame[i][slot] + NUMBER_AT, sizeof(number));
	if (number[0] >= s->all_pairs || number[1] >= s->next[number[0]])
		return wrong(s, "ring %u: what is in buffer %u was not sent", i, slot);
	if (s->got[number[0]][number[1]]++)
		return wrong(s, "frame %u of pair %u arrived twice", number[1], number[0]);
	s->arrived++;

	return 0;
}

/* Look at what was used since the last time */
static int reap(struct stream *s)
{
	const struct vring_used_elem *e;
	unsigned int i, n, slot;
	int r = 0;

	for (i = 0; i < rings(s); i++) {
		n = (uint16_t)(used_idx(s, i) - s->seen[i]);
		if (n > posted(s, i))
			return wrong(s, "ring %u: used index %u, after %u of %u", i,
				     used_idx(s, i), s->seen[i], s->page->ring[i].avail.idx);
		for (; !r && n; n--, s->seen[i]++) {
			slot = s->seen[i] % NUM;
			e = &s->page->ring[i].used.ring[slot];
			if (i < cvq(s) && e->id != slot)
				r = wrong(s, "ring %u: entry %u is %u", i, s->seen[i], e->id);
			else if (i < cvq(s) && i % 2 == 0)
				r = receive(s, i, slot);
		}
	}

	return r;
}

/* Does what arrived, and what was lost on the way, add up to what was sent? */
static int account(struct stream *s)
{
	long frames = mlx5_mock_get("frames") - s->frames;
	long dropped = mlx5_mock_get("dropped") - s->dropped;

	if (s->arrived == frames && frames + dropped == s->sent)
		return 0;

	return wrong(s, "%ld frames sent, %ld delivered, %ld arrived, %ld dropped",
		     s->sent, frames, s->arrived, dropped);
}

/* Until the queues that may send have sent everything */
static int drain(struct stream *s)
{
	uint64_t end = now_ms() + DRAIN_MS;
	bool idle = false;
	unsigned int p;
	int r = 0;

	while (!r && !idle) {
		r = reap(s);
		for (idle = true, p = 0; p < s->pairs; p++)
			idle = idle && !posted(s, tx(p));
		if (!idle && now_ms() > end)
			r = wrong(s, "%u and %u frames are not sent",
				  posted(s, tx(0)), posted(s, tx(1)));
		if (!r && !idle)
			usleep(200);
	}
	/* A frame arrives before it is used; the queues were looked at in turn */
	r = r ?: reap(s);
	/* A pair that was taken away may have frames that it could not send */
	if (!r && s->pairs == s->all_pairs)
		r = account(s);

	return r;
}

/* Frames of all kinds, all of which arrive */
static int roundtrip(struct stream *s)
{
	long dropped;
	int r;

	r = drain(s);
	dropped = mlx5_mock_get("dropped");
	if (!r)
		r = burst(s, NUM);
	if (!r)
		r = drain(s);
	if (!r && mlx5_mock_get("dropped") != dropped)
		r = wrong(s, "%ld frames lost at rest", mlx5_mock_get("dropped") - dropped);

	return r;
}

/* Whatever can move has moved: the model has gone round some times, if it has queues */
static int settle(struct stream *s)
{
	const uint64_t end = now_ms() + DRAIN_MS;
	const long rounds = mlx5_mock_get("rounds");

	while (mlx5_mock_get("ready") && mlx5_mock_get("rounds") < rounds + 3) {
		if (now_ms() > end)
			return wrong(s, "the model does not look at its queues");
		usleep(200);
	}

	return 0;
}

/* The driver has looked at the control command that was sent */
static int has_looked(struct stream *s)
{
	int down = mlx5_mock_set_link(&s->c, false);
	int up = mlx5_mock_set_link(&s->c, true);

	/* Some do not hear of the link while they are suspended: it has had its time */
	return down == -ETIMEDOUT ? up : down ?: up;
}

/* A device at rest moves nothing, what it is asked to send now included */
static int stopped(struct stream *s)
{
	uint16_t used[MAX_RINGS];
	unsigned int i;
	int r = reap(s);

	if (r)
		return r;
	for (i = 0; i < cvq(s); i++)
		used[i] = used_idx(s, i);
	r = burst(s, 1) ?: settle(s);
	if (r)
		return r;
	for (i = 0; i < cvq(s); i++)
		if (used[i] != used_idx(s, i))
			return wrong(s, "ring %u moves on a device at rest", i);

	return 0;
}

/* Where the device says what became of a control command */
static uint8_t *ctrl_ack(struct stream *s)
{
	return s->page->ctrl + 32;
}

static int send_ctrl_data(struct stream *s, uint8_t class, uint8_t cmd, const void *data,
			  size_t len)
{
	uint8_t *out = s->page->ctrl;
	struct ring *ring = &s->page->ring[cvq(s)];

	out[0] = class;
	out[1] = cmd;
	memcpy(out + 2, data, len);
	*ctrl_ack(s) = 0xff;
	ring->desc[0] = (struct vring_desc) {
		.addr = addr_of(s, out), .len = 2 + len,
		.flags = VRING_DESC_F_NEXT, .next = 1,
	};
	ring->desc[1] = (struct vring_desc) {
		.addr = addr_of(s, ctrl_ack(s)), .len = 1, .flags = VRING_DESC_F_WRITE,
	};
	post(s, cvq(s), 0);

	return kick(s, cvq(s));
}

static int send_ctrl(struct stream *s, uint8_t class, uint8_t cmd, uint16_t val)
{
	return send_ctrl_data(s, class, cmd, &val, sizeof(val));
}

static int ctrl_data(struct stream *s, uint8_t class, uint8_t cmd, const void *data,
		     size_t len)
{
	uint64_t end = now_ms() + CTRL_MS;
	int r;

	r = send_ctrl_data(s, class, cmd, data, len);
	while (!r && used_idx(s, cvq(s)) != s->page->ring[cvq(s)].avail.idx) {
		if (now_ms() > end)
			r = wrong(s, "no answer to control command %u/%u", class, cmd);
		usleep(200);
	}
	s->seen[cvq(s)] = used_idx(s, cvq(s));

	return r ?: *ctrl_ack(s) == VIRTIO_NET_OK ? 0 : -EIO;
}

static int ctrl(struct stream *s, uint8_t class, uint8_t cmd, uint16_t val)
{
	return ctrl_data(s, class, cmd, &val, sizeof(val));
}

static int set_pairs(struct stream *s, unsigned int pairs)
{
	int r = ctrl(s, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs);

	if (!r)
		s->pairs = pairs;

	return r;
}

static int enable(struct stream *s, unsigned int i, bool on)
{
	struct vhost_vring_state state = { .index = i, .num = on };

	return ioctl(s->c.fd, VHOST_VDPA_SET_VRING_ENABLE, &state) ? -errno : 0;
}

static int set_status(struct stream *s, uint8_t status)
{
	return ioctl(s->c.fd, VHOST_VDPA_SET_STATUS, &status) ? -errno : 0;
}

static bool is_failed(struct stream *s)
{
	uint8_t status = 0;

	return ioctl(s->c.fd, VHOST_VDPA_GET_STATUS, &status) ||
	       status & VIRTIO_CONFIG_S_FAILED;
}

static int set_ring(struct stream *s, unsigned int i)
{
	struct ring *ring = &s->page->ring[i];
	struct vhost_vring_state num = { .index = i, .num = NUM };
	struct vhost_vring_state base = { .index = i, .num = used_idx(s, i) };
	struct vhost_vring_file fd = { .index = i, .fd = s->kick[i] };
	struct vhost_vring_addr addr = {
		.index = i,
		.desc_user_addr = addr_of(s, ring->desc),
		.avail_user_addr = addr_of(s, &ring->avail),
		.used_user_addr = addr_of(s, &ring->used),
	};

	if (ioctl(s->c.fd, VHOST_SET_VRING_NUM, &num) ||
	    ioctl(s->c.fd, VHOST_SET_VRING_BASE, &base) ||
	    ioctl(s->c.fd, VHOST_SET_VRING_ADDR, &addr) ||
	    ioctl(s->c.fd, VHOST_SET_VRING_KICK, &fd))
		return -errno;

	return enable(s, i, true);
}

/* All but the start: to go on where the device stopped, which uses its rings in order */
static int prepare_with(struct stream *s, uint8_t status)
{
	const uint64_t features = FEATURES;
	unsigned int i;
	int r;

	r = set_status(s, S_FOUND);
	if (!r && ioctl(s->c.fd, VHOST_SET_FEATURES, &features))
		r = -errno;
	r = r ?: set_status(s, status);
	for (i = 0; !r && i < rings(s); i++)
		r = set_ring(s, i);

	return r;
}

static int prepare(struct stream *s)
{
	return prepare_with(s, S_FEATURES);
}

static int start(struct stream *s)
{
	return prepare(s) ?: set_status(s, S_RUNNING);
}

/* What a driver has to say again after each reset */
static int configure(struct stream *s)
{
	int r;

	if (!client_is_running(&s->c))
		return wrong(s, "the device does not start");
	r = set_pairs(s, s->all_pairs);

	return r ?: ctrl(s, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, VID);
}

static int reset(struct stream *s)
{
	return client_reset(&s->c);
}

static int restart(struct stream *s)
{
	int r = reset(s) ?: stopped(s);

	return r ?: start(s) ?: configure(s);
}

static int suspend(struct stream *s)
{
	return ioctl(s->c.fd, VHOST_VDPA_SUSPEND) ? -errno : 0;
}

/* A suspended device says for each queue where it stopped */
static int check_bases(struct stream *s)
{
	struct vhost_vring_state base;
	unsigned int i;

	for (i = 0; i < rings(s); i++) {
		base.index = i;
		if (ioctl(s->c.fd, VHOST_GET_VRING_BASE, &base))
			return wrong(s, "ring %u: no index (%d)", i, errno);
		if ((uint16_t)base.num != used_idx(s, i))
			return wrong(s, "ring %u: stopped at %u, and says %u", i,
				     used_idx(s, i), base.num);
	}

	return 0;
}

static void stream_close(struct stream *s)
{
	unsigned int i;

	client_close(&s->c);
	for (i = 0; i < rings(s); i++) {
		if (s->kick[i] >= 0)
			close(s->kick[i]);
		s->kick[i] = -1;
	}
	if (s->page)
		munmap(s->page, sizeof(*s->page));
	s->page = NULL;
}

/* Open the device, map, start, and send on all queues */
static int stream_open(struct stream *s)
{
	unsigned int i;
	int r;

	for (i = 0; i < rings(s); i++)
		s->kick[i] = eventfd(0, EFD_CLOEXEC);
	r = client_open(&s->c, &s->dev, 0);
	r = r ?: client_ack(&s->c, s->c.features);
	r = r ?: client_get_config(&s->c, offsetof(struct virtio_net_config, mac), s->c.mac,
				   ETH_ALEN);
	s->page = vdpa_dev_alloc(&s->dev, sizeof(*s->page));
	if (!r && !s->page)
		r = -ENOMEM;
	if (!r)
		r = client_map_at(&s->c, 0, IOVA, s->page, sizeof(*s->page));
	s->frames = mlx5_mock_get("frames");
	s->dropped = mlx5_mock_get("dropped");
	r = r ?: start(s) ?: configure(s) ?: roundtrip(s);
	/* Whoever had it before may have left it like that */
	if (r && is_failed(s))
		r = -EIO;
	if (r)
		stream_close(s);

	return r;
}

/*
 * A stream on a device of its own with so many pairs, whose firmware lets suspended
 * queues go on, or not. -ENOENT: there is none, @why says why
 */
static int stream_get(struct stream **new, unsigned int pairs, bool resumable, const char **why)
{
	struct stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->all_pairs = pairs;
	s->parent = (struct vdpa_parent)MLX5_NET_MQ(pairs);
	r = vdpa_load_parent(&s->parent, why);
	if (!r && mlx5_mock_get("freeze_to_rdy") != resumable)
		r = mlx5_mock_set_firmware("freeze_to_rdy", resumable);
	r = r ?: vdpa_dev_get(&s->dev, &s->parent, why);
	if (!r) {
		*why = s->why;
		s->in_advance = mlx5_mock_objects("virtio_net_q");
		s->pins = pins_in_system();
		s->far = vdpa_dev_alloc(&s->dev, getpagesize());
		r = stream_open(s);
		if (r)
			vdpa_dev_put(&s->dev);
	}
	*new = s;
	if (r && *why != s->why)
		free(s);

	return r;
}

static void set_up(struct __test_metadata *_metadata, struct stream **new, unsigned int pairs,
		   bool resumable)
{
	const char *why = "";

	SKIP_IF_MISSING(stream_get(new, pairs, resumable, &why), why);
}

static void tear_down(struct __test_metadata *_metadata, struct stream *s, bool resumable)
{
	mlx5_mock_disarm();
	stream_close(s);
	vdpa_dev_put(&s->dev);
	EXPECT_EQ(0, vdpa_violations(&s->dev)) {
		TH_LOG("%s", vdpa_violation(&s->dev));
	}
	EXPECT_EQ(s->pins, pins_in_system());
	free(s);
	if (resumable)
		EXPECT_EQ(0, mlx5_mock_set_firmware("freeze_to_rdy", 0));
}

FIXTURE(stream)
{
	struct stream *s;
};

FIXTURE_VARIANT(stream)
{
	bool resumable;		/* firmware lets suspended queues go on */
};

FIXTURE_VARIANT_ADD(stream, not_resumable)
{
	.resumable = false,
};

FIXTURE_VARIANT_ADD(stream, resumable)
{
	.resumable = true,
};

FIXTURE_SETUP(stream)
{
	set_up(_metadata, &self->s, PAIRS, variant->resumable);
}

FIXTURE_TEARDOWN(stream)
{
	tear_down(_metadata, self->s, variant->resumable);
}

/* With as many pairs as the model has */
FIXTURE(many)
{
	struct stream *s;
};

FIXTURE_VARIANT(many)
{
	bool resumable;
};

FIXTURE_VARIANT_ADD(many, not_resumable)
{
	.resumable = false,
};

FIXTURE_VARIANT_ADD(many, resumable)
{
	.resumable = true,
};

FIXTURE_SETUP(many)
{
	set_up(_metadata, &self->s, MAX_PAIRS, variant->resumable);
}

FIXTURE_TEARDOWN(many)
{
	mlx5_mock_set("issue_err", 0);
	mlx5_mock_set("async_all", 0);
	mlx5_mock_set("max_async", MLX5_MAX_ASYNC);
	tear_down(_metadata, self->s, variant->resumable);
}

/* All of these return 0 or an error, and @why says more */
#define OK(_s, _step)							\
do {									\
	int _r = (_step);						\
									\
	ASSERT_EQ(0, _r) {						\
		TH_LOG("%s", (_s)->why);				\
	}								\
} while (0)

static int plug(struct stream *s)
{
	int r = client_map_at(&s->c, 0, FAR_IOVA, s->far, getpagesize());

	s->plugged = !r;

	return r;
}

static int unplug(struct stream *s)
{
	s->plugged = false;

	return client_unmap_at(&s->c, 0, FAR_IOVA, getpagesize());
}

static void go_on_over_changes_of_the_map(struct __test_metadata *_metadata, struct stream *s,
					  int rounds)
{
	int i;

	for (i = 0; i < rounds; i++) {
		OK(s, burst(s, i % NUM + 1));
		OK(s, i % 2 ? unplug(s) : plug(s));
		OK(s, drain(s));
	}
	OK(s, roundtrip(s));
}

TEST_F_TIMEOUT(stream, goes_on_over_changes_of_the_map, TIMEOUT)
{
	go_on_over_changes_of_the_map(_metadata, self->s,
				      variant->resumable ? 5 * ROUNDS : ROUNDS);
}

TEST_F_TIMEOUT(many, goes_on_over_changes_of_the_map, TIMEOUT)
{
	go_on_over_changes_of_the_map(_metadata, self->s, ROUNDS);
}

static void go_on_after_a_suspend(struct __test_metadata *_metadata, struct stream *s)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		OK(s, burst(s, i % NUM + 1));
		OK(s, suspend(s));
		OK(s, stopped(s));
		OK(s, check_bases(s));
		OK(s, restart(s));
		OK(s, drain(s));
	}
	OK(s, roundtrip(s));
}

TEST_F_TIMEOUT(stream, goes_on_after_a_suspend, TIMEOUT)
{
	go_on_after_a_suspend(_metadata, self->s);
}

TEST_F_TIMEOUT(many, goes_on_after_a_suspend, TIMEOUT)
{
	go_on_after_a_suspend(_metadata, self->s);
}

static void change_map_and_restart(struct __test_metadata *_metadata, struct stream *s,
				   bool less)
{
	OK(s, burst(s, NUM));
	OK(s, less ? unplug(s) : plug(s));
	OK(s, drain(s));
	OK(s, suspend(s));
	OK(s, stopped(s) ?: check_bases(s));
	OK(s, restart(s));
	OK(s, drain(s));
}

/* So that not all commands of a step fit */
TEST_F_TIMEOUT(many, goes_on_with_few_commands_at_a_time, TIMEOUT)
{
	struct stream *s = self->s;
	int i;

	for (i = s->in_advance; i < 4; i++) {
		ASSERT_EQ(0, mlx5_mock_set("max_async", i));
		change_map_and_restart(_metadata, s, i % 2);
	}
	OK(s, roundtrip(s));
}

/* An mlx5_core that has no such commands, has no memory, or is going down: one by one, then */
TEST_F_TIMEOUT(many, goes_on_without_commands_in_flight, TIMEOUT)
{
	static const int why[] = { EINVAL, ENOMEM, ENXIO };
	struct stream *s = self->s;
	unsigned int i;

	if (s->in_advance)
		return;
	for (i = 0; i < ARRAY_SIZE(why); i++) {
		ASSERT_EQ(0, mlx5_mock_set("issue_err", why[i]));
		change_map_and_restart(_metadata, s, i % 2);
	}
	OK(s, roundtrip(s));
}

static int start_pairs(struct stream *s, unsigned int pairs)
{
	int r = reset(s) ?: start(s);

	s->pairs = 1;
	if (!r && !client_is_running(&s->c))
		r = wrong(s, "the device does not start");

	return r ?: set_pairs(s, pairs);
}

/* Another client, which has rings and numbers of its own */
static int begin_anew(struct stream *s)
{
	struct stream fresh = {
		.parent = s->parent, .dev = s->dev, .pins = s->pins, .far = s->far,
		.all_pairs = s->all_pairs,
	};

	stream_close(s);
	*s = fresh;

	return stream_open(s);
}

/* How many commands of a step have to wait for each other */
#define WAITS(_s, _step)						\
({									\
	long _chain = mlx5_mock_get("chain");				\
									\
	mlx5_mock_set("async_all", 1);					\
	OK(_s, _step);							\
	mlx5_mock_set("async_all", 0);					\
	mlx5_mock_get("chain") - _chain;				\
})

/* With one pair, and with all; a start ends when that many run */
TEST_F_TIMEOUT(many, wait_for_no_more_commands_than_few, TIMEOUT)
{
	long restarts[2], plugs[2], unplugs[2], suspends[2];
	struct stream *s = self->s;
	unsigned int i, pairs;

	/* The driver of newer kernels has queues in advance, and goes another way */
	if (s->in_advance)
		return;
	for (i = 0; i < 2; i++) {
		pairs = i ? MAX_PAIRS : 1;
		OK(s, start_pairs(s, pairs));
		restarts[i] = WAITS(s, start_pairs(s, pairs));
		plugs[i] = WAITS(s, plug(s));
		unplugs[i] = WAITS(s, unplug(s));
		suspends[i] = WAITS(s, suspend(s));
		TH_LOG("restart %ld, plug %ld, unplug %ld, suspend %ld", restarts[i],
		       plugs[i], unplugs[i], suspends[i]);
	}
	/* The others are asked for when the first pair runs */
	EXPECT_LE(restarts[1], restarts[0] + 4);
	EXPECT_EQ(plugs[1], plugs[0]);
	EXPECT_EQ(unplugs[1], unplugs[0]);
	EXPECT_EQ(suspends[1], suspends[0]);
	OK(s, reset(s));
}

/* One that has created nothing for a driver yet */
static int new_device(struct stream *s)
{
	const char *why;

	stream_close(s);
	vdpa_dev_put(&s->dev);
	if (vdpa_violations(&s->dev))
		return wrong(s, "a violation while the last device went");

	return vdpa_dev_get(&s->dev, &s->parent, &why);
}

/* Only completion queues come one by one. One more step that did so is 29 waits more. */
TEST_F_TIMEOUT(many, start_for_the_first_time_all_at_once, TIMEOUT)
{
	struct stream *s = self->s;
	long waits;

	if (s->in_advance)
		return;
	OK(s, new_device(s));
	waits = WAITS(s, begin_anew(s));
	TH_LOG("%ld commands one after another", waits);
	EXPECT_LE(waits, 2L * MAX_PAIRS + 40);
	OK(s, roundtrip(s));

	/* And so they do where nothing can be in flight */
	OK(s, new_device(s));
	ASSERT_EQ(0, mlx5_mock_set("issue_err", EINVAL));
	OK(s, begin_anew(s) ?: roundtrip(s));
}

TEST_F_TIMEOUT(stream, goes_on_after_a_suspend_with_another_map, TIMEOUT)
{
	struct stream *s = self->s;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		OK(s, burst(s, i % NUM + 1));
		OK(s, i % 2 ? unplug(s) : plug(s));
		OK(s, suspend(s));
		OK(s, i % 2 ? plug(s) : unplug(s));
		OK(s, stopped(s));
		OK(s, check_bases(s));
		OK(s, restart(s));
		OK(s, drain(s));
		OK(s, i % 2 ? unplug(s) : plug(s));
	}
	OK(s, roundtrip(s));
}

TEST_F_TIMEOUT(stream, goes_on_after_a_reset, TIMEOUT)
{
	struct stream *s = self->s;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		OK(s, burst(s, i % NUM + 1));
		OK(s, restart(s));
		OK(s, drain(s));
	}
	OK(s, roundtrip(s));
}

TEST_F_TIMEOUT(stream, goes_on_when_pairs_are_taken_away_and_given_back, TIMEOUT)
{
	struct stream *s = self->s;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		OK(s, burst(s, i % NUM + 1));
		OK(s, set_pairs(s, 1 + i % 2));
		OK(s, drain(s));
	}
	OK(s, roundtrip(s));
}

/* What was taken away goes on at its own index, and not before it is given back */
TEST_F_TIMEOUT(stream, keeps_the_place_of_a_pair_over_a_change_of_the_map, TIMEOUT)
{
	struct stream *s = self->s;
	int i;

	for (i = 0; i < 10; i++) {
		OK(s, burst(s, i % NUM + 1));
		OK(s, set_pairs(s, 1));
		OK(s, i % 2 ? unplug(s) : plug(s));
		OK(s, roundtrip(s));
		OK(s, set_pairs(s, s->all_pairs));
		OK(s, roundtrip(s));
	}
}

TEST_F_TIMEOUT(stream, keeps_the_place_of_a_pair_over_a_suspend, TIMEOUT)
{
	struct stream *s = self->s;
	int i;

	for (i = 0; i < 10; i++) {
		OK(s, burst(s, i % NUM + 1));
		OK(s, set_pairs(s, 1));
		OK(s, suspend(s));
		OK(s, stopped(s));
		OK(s, check_bases(s));
		OK(s, restart(s));
		OK(s, roundtrip(s));
	}
}

/* A pair that was taken away is at rest whatever becomes of the map */
TEST_F_TIMEOUT(stream, does_not_move_a_pair_that_was_taken_away, TIMEOUT)
{
	struct stream *s = self->s;
	uint16_t used;

	OK(s, set_pairs(s, 1));
	used = used_idx(s, tx(1));
	post_frame(s, 1);
	OK(s, kick(s, tx(1)));
	OK(s, plug(s));
	OK(s, kick(s, tx(1)));
	OK(s, settle(s));
	EXPECT_EQ(used, used_idx(s, tx(1)));
	OK(s, set_pairs(s, s->all_pairs));
	OK(s, roundtrip(s));
}

TEST_F_TIMEOUT(stream, refuses_pairs_that_it_has_not_got, TIMEOUT)
{
	struct stream *s = self->s;
	const uint16_t pairs[] = { 0, s->all_pairs + 1, UINT16_MAX };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++)
		EXPECT_EQ(-EIO, ctrl(s, VIRTIO_NET_CTRL_MQ,
				     VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs[i]));
	OK(s, roundtrip(s));
}

/* How many pairs there can be depends on features. Who left FEATURES_OK out may try */
TEST_F_TIMEOUT(stream, goes_on_whatever_features_it_is_given, TIMEOUT)
{
	const uint64_t one_pair = FEATURES & ~BIT_ULL(VIRTIO_NET_F_MQ);
	struct stream *s = self->s;

	OK(s, reset(s));
	OK(s, stopped(s));
	OK(s, prepare_with(s, S_FOUND));
	OK(s, set_status(s, S_FOUND | VIRTIO_CONFIG_S_DRIVER_OK));
	OK(s, configure(s));
	/* May be refused, or do no harm */
	ioctl(s->c.fd, VHOST_SET_FEATURES, &one_pair);
	OK(s, plug(s));
	OK(s, roundtrip(s));
}

/* A suspended device has no queue whose number could change; it does so later */
TEST_F_TIMEOUT(stream, takes_no_control_commands_while_it_is_suspended, TIMEOUT)
{
	struct stream *s = self->s;

	OK(s, suspend(s));
	OK(s, plug(s));
	OK(s, enable(s, cvq(s), true));
	OK(s, send_ctrl(s, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 1));
	OK(s, has_looked(s));
	OK(s, stopped(s));
	OK(s, restart(s));
	OK(s, roundtrip(s));
}

/* Also if its map has not changed, and its queues are still there */
TEST_F_TIMEOUT(stream, gets_no_more_queues_while_it_is_suspended, TIMEOUT)
{
	struct stream *s = self->s;
	uint16_t used;

	OK(s, set_pairs(s, 1));
	used = used_idx(s, tx(1));
	post_frame(s, 1);
	OK(s, suspend(s));
	OK(s, enable(s, cvq(s), true));
	OK(s, send_ctrl(s, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, s->all_pairs));
	OK(s, has_looked(s));
	OK(s, stopped(s));
	OK(s, kick(s, tx(1)));
	OK(s, settle(s));
	EXPECT_EQ(used, used_idx(s, tx(1)));
	EXPECT_EQ(0xff, *ctrl_ack(s));
	OK(s, restart(s));
	OK(s, roundtrip(s));
}

/* A queue that was not ready when the device was suspended does not get ready */
TEST_F_TIMEOUT(stream, starts_no_queue_while_it_is_suspended, TIMEOUT)
{
	struct stream *s = self->s;
	uint16_t used = used_idx(s, tx(0));

	OK(s, reset(s));
	OK(s, prepare(s));
	OK(s, enable(s, tx(0), false));
	OK(s, set_status(s, S_RUNNING));
	OK(s, suspend(s));
	OK(s, enable(s, tx(0), true));
	post_frame(s, 0);
	OK(s, kick(s, tx(0)));
	OK(s, settle(s));
	EXPECT_EQ(used, used_idx(s, tx(0)));
	OK(s, restart(s));
	OK(s, roundtrip(s));
}

/* There is nothing to be suspended yet, and the start is not kept from it */
TEST_F_TIMEOUT(stream, suspend_before_the_start_is_nothing, TIMEOUT)
{
	struct stream *s = self->s;

	OK(s, reset(s));
	OK(s, suspend(s));
	OK(s, start(s) ?: configure(s));
	OK(s, roundtrip(s));
	OK(s, plug(s));
	OK(s, roundtrip(s));
}

static int set_num(struct stream *s, unsigned int i, unsigned int n)
{
	struct vhost_vring_state num = { .index = i, .num = n };

	return ioctl(s->c.fd, VHOST_SET_VRING_NUM, &num) ? -errno : 0;
}

/* It is not the one that it had when the device started */
TEST_F_TIMEOUT(stream, takes_the_size_that_a_pair_has_when_it_is_asked_for, TIMEOUT)
{
	struct stream *s = self->s;

	OK(s, reset(s) ?: prepare(s));
	OK(s, set_num(s, rx(1), NUM / 2));
	OK(s, set_status(s, S_RUNNING));
	OK(s, set_num(s, rx(1), NUM));
	OK(s, configure(s));
	OK(s, roundtrip(s));
}

TEST_F_TIMEOUT(stream, vlan_filters_follow_the_address, TIMEOUT)
{
	struct stream *s = self->s;
	int i;

	for (i = 0; i < 4; i++) {
		OK(s, drain(s));
		s->c.mac[1]++;
		OK(s, ctrl_data(s, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				s->c.mac, ETH_ALEN));
		OK(s, roundtrip(s));
		OK(s, i % 2 ? unplug(s) : plug(s));
		OK(s, roundtrip(s));
	}
	/* No other filter goes by the name of one */
	EXPECT_EQ(-EIO, ctrl(s, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD,
			     VLAN_N_VID + VID + 1));
	EXPECT_EQ(-EIO, ctrl(s, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, VLAN_N_VID));
	OK(s, roundtrip(s));
}

/*
 * Faults: the n-th command of a step fails, for all n; or for every so many of them,
 * as four queues are treated alike and each command of a queue is met with one.
 *
 * What is there and cannot be stopped, read or destroyed can cost the device.
 * What cannot be created can be done without, as it was before.
 */
static bool may_cost_the_device(unsigned int opcode)
{
	return opcode == 0xa01 ||	/* MODIFY_GENERAL_OBJECT */
	       opcode == 0xa02 ||	/* QUERY_GENERAL_OBJECT */
	       mlx5_mock_destroys(opcode);
}

FIXTURE(faults)
{
	struct stream *s;
};

FIXTURE_VARIANT(faults)
{
	int (*before)(struct stream *s);
	int (*run)(struct stream *s);
	int (*after)(struct stream *s);
	bool silent;	/* it does not say that it failed, the device does later */
	bool any;	/* any command of it may cost the device */
	bool resumable;		/* firmware lets suspended queues go on */
	bool throttled;		/* few commands at a time */
	unsigned int more;	/* commands that fail in a row, after the n-th */
	unsigned int step;	/* of n, if not 1; no divisor of the commands of a queue */
};

static int nothing(struct stream *s)
{
	return 0;
}

static int be_unplugged(struct stream *s)
{
	return s->plugged ? unplug(s) : 0;
}

/* Also if it could not be unplugged, which nobody is told */
static int be_plugged(struct stream *s)
{
	int r = plug(s);

	return r == -EEXIST ? 0 : r;
}

static int suspend_for_good(struct stream *s)
{
	int r = suspend(s);

	/* What it says, it has to keep; and it can be asked where it is */
	mlx5_mock_set("fail_nth", 0);

	return r ?: stopped(s) ?: check_bases(s);
}

static int reset_for_good(struct stream *s)
{
	int r = reset(s);

	return r ?: stopped(s);
}

static int take_away(struct stream *s)
{
	return set_pairs(s, 1);
}

static int give_back(struct stream *s)
{
	return set_pairs(s, s->all_pairs);
}

FIXTURE_VARIANT_ADD(faults, plug)
{
	.before = be_unplugged, .run = plug, .after = nothing, .step = 3,
};

FIXTURE_VARIANT_ADD(faults, unplug)
{
	.before = be_plugged, .run = unplug, .after = nothing, .silent = true,
	.step = 7,
};

FIXTURE_VARIANT_ADD(faults, resumable_plug)
{
	.before = be_unplugged, .run = plug, .after = nothing, .resumable = true,
};

FIXTURE_VARIANT_ADD(faults, resumable_unplug)
{
	.before = be_plugged, .run = unplug, .after = nothing, .silent = true,
	.resumable = true,
};

FIXTURE_VARIANT_ADD(faults, resumable_plug_thrice)
{
	.before = be_unplugged, .run = plug, .after = nothing, .any = true, .more = 2,
	.resumable = true,
};

FIXTURE_VARIANT_ADD(faults, throttled_plug)
{
	.before = be_unplugged, .run = plug, .after = nothing, .step = 3,
	.throttled = true,
};

FIXTURE_VARIANT_ADD(faults, suspend)
{
	.before = nothing, .run = suspend_for_good, .after = restart,
};

FIXTURE_VARIANT_ADD(faults, reset)
{
	.before = nothing, .run = reset_for_good, .after = restart, .silent = true,
	.step = 3,
};

FIXTURE_VARIANT_ADD(faults, start)
{
	.before = reset_for_good, .run = start, .after = configure,
	.silent = true, .any = true, .step = 3,
};

FIXTURE_VARIANT_ADD(faults, take_away)
{
	.before = nothing, .run = take_away, .after = give_back,
};

FIXTURE_VARIANT_ADD(faults, give_back)
{
	.before = take_away, .run = give_back, .after = give_back,
};

/* Neither the way back works, or a queue that cannot be stopped goes on for good */
FIXTURE_VARIANT_ADD(faults, plug_thrice)
{
	.before = be_unplugged, .run = plug, .after = nothing, .any = true, .more = 2,
	.step = 7,
};

FIXTURE_VARIANT_ADD(faults, close_thrice)
{
	.before = nothing, .run = begin_anew, .after = nothing,
	.silent = true, .any = true, .more = 2,
	.step = 7,
};

FIXTURE_SETUP(faults)
{
	set_up(_metadata, &self->s, PAIRS, variant->resumable);
	if (variant->throttled)
		mlx5_mock_set("max_async", 3);
}

FIXTURE_TEARDOWN(faults)
{
	mlx5_mock_set("max_async", MLX5_MAX_ASYNC);
	tear_down(_metadata, self->s, variant->resumable);
}

/* The device is lost: nothing else is, and the next one works */
static int replace(struct stream *s)
{
	const char *why;
	int r;

	stream_close(s);
	vdpa_dev_put(&s->dev);
	if (vdpa_violations(&s->dev))
		return wrong(s, "%s", vdpa_violation(&s->dev));
	r = vdpa_dev_get(&s->dev, &s->parent, &why);

	return r ?: begin_anew(s);
}

/* The device has failed. A reset brings it back, unless it keeps what it must not */
static int bring_back(struct stream *s, bool may_be_lost)
{
	int r;

	/* Its driver may not have noticed yet */
	if (s->page)
		send_ctrl(s, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, s->all_pairs);
	r = restart(s);
	if (!r)
		return roundtrip(s);
	if (!may_be_lost)
		return r;

	return replace(s);
}

/* After a step in which the command @failed failed, if not 0, and that returned @r */
static int go_on(struct stream *s, const FIXTURE_VARIANT(faults) * const variant, int r,
		 unsigned int failed)
{
	if (r == -EBADMSG)
		return r;
	if (r && !failed)
		return wrong(s, "the step failed by itself (%d)", r);
	/* Of what is left behind, its status tells */
	if (is_failed(s) && !r && !variant->silent && !mlx5_mock_destroys(failed))
		return wrong(s, "the device has failed, and nobody was told");
	if (!is_failed(s)) {
		r = variant->after(s);
		if (!r)
			r = roundtrip(s);
		/* It may be found out only now */
		if (!is_failed(s))
			return r;
	}
	if (!variant->any && !may_cost_the_device(failed))
		return wrong(s, "the device has failed");

	return bring_back(s, variant->more || mlx5_mock_destroys(failed));
}

TEST_F_TIMEOUT(faults, lose_nothing, 600)
{
	struct stream *s = self->s;
	unsigned int nth, failed = 1;
	int r;

	for (nth = 1; failed && nth < MAX_FAULTS; nth += variant->step ?: 1) {
		OK(s, variant->before(s));
		OK(s, burst(s, nth % NUM + 1));
		mlx5_mock_set("fail_more", variant->more);
		mlx5_mock_arm(nth, 0);
		r = variant->run(s);
		failed = mlx5_mock_disarm();
		ASSERT_EQ(0, go_on(s, variant, r, failed)) {
			TH_LOG("command %u, %#x: %s", nth, failed, s->why);
		}
		ASSERT_EQ(0, vdpa_violations(&s->dev)) {
			TH_LOG("command %u, %#x: %s", nth, failed, vdpa_violation(&s->dev));
		}
	}
	EXPECT_LT(4U, nth);
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
