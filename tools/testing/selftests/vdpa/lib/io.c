// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "dev.h"
#include "io.h"
#include "packed.h"
#include "supervise.h"
#include "util.h"

#define SECTOR_SIZE	512

uint64_t client_iova(const struct vdpa_client *c, const void *addr)
{
	return c->iova + ((const uint8_t *)addr - (const uint8_t *)c->page);
}

static struct vring_packed_desc *packed_ring(const struct vdpa_client *c,
					     unsigned int ring)
{
	return (struct vring_packed_desc *)c->page->ring[ring].desc;
}

/* Its first descriptor becomes available last, and all of it with that */
static void client_post_packed(struct vdpa_client *c, unsigned int ring, uint16_t id,
			       const struct client_part *parts, unsigned int n)
{
	struct vring_packed_desc *desc;
	uint16_t at, flags, first = 0;
	unsigned int i;

	c->last[ring] = c->avail[ring];
	for (i = 0; i < n; i++) {
		at = packed_after(c->avail[ring], i, CLIENT_RING_NUM);
		desc = &packed_ring(c, ring)[at & PACKED_INDEX];
		desc->addr = parts[i].iova;
		desc->len = parts[i].len;
		desc->id = id;
		flags = packed_avail(at) | (parts[i].in ? VRING_DESC_F_WRITE : 0) |
			(i + 1 < n ? VRING_DESC_F_NEXT : 0);
		if (i)
			desc->flags = flags;
		else
			first = flags;
	}
	desc = &packed_ring(c, ring)[c->last[ring] & PACKED_INDEX];
	__atomic_store_n(&desc->flags, first, __ATOMIC_RELEASE);
	c->avail[ring] = packed_after(c->avail[ring], n, CLIENT_RING_NUM);
}

void client_post(struct vdpa_client *c, unsigned int ring, unsigned int first,
		 const struct client_part *parts, unsigned int n)
{
	struct vring_desc *desc = c->page->ring[ring].desc;
	uint16_t *avail_idx = &c->page->ring[ring].avail.idx;
	unsigned int i;

	if (c->packed) {
		client_post_packed(c, ring, first, parts, n);
		return;
	}

	for (i = 0; i < n; i++) {
		desc[first + i].addr = parts[i].iova;
		desc[first + i].len = parts[i].len;
		desc[first + i].flags = (parts[i].in ? VRING_DESC_F_WRITE : 0) |
			(i + 1 < n ? VRING_DESC_F_NEXT : 0);
		desc[first + i].next = first + i + 1;
	}

	c->page->ring[ring].avail.ring[*avail_idx % CLIENT_RING_NUM] = first;
	__atomic_store_n(avail_idx, *avail_idx + 1, __ATOMIC_RELEASE);
}

int client_kick(struct vdpa_client *c, unsigned int ring)
{
	if (c->doorbell) {
		__atomic_store_n(c->doorbell, ring, __ATOMIC_RELEASE);
		return 0;
	}

	return eventfd_write(c->kick[ring], 1) ? -errno : 0;
}

/* In a packed ring: the last one is, as all that are in it at once are as long */
static bool client_all_used(const struct vdpa_client *c, unsigned int ring)
{
	const uint16_t *used = &c->page->ring[ring].used.idx;

	if (c->packed)
		return packed_is(packed_ring(c, ring), c->last[ring],
				 packed_used(c->last[ring]));

	return __atomic_load_n(used, __ATOMIC_ACQUIRE) == c->page->ring[ring].avail.idx;
}

int client_wait(struct vdpa_client *c, unsigned int ring, int timeout_ms)
{
	uint64_t end = now_ms() + timeout_ms;

	while (!client_all_used(c, ring)) {
		if (now_ms() >= end)
			return -ETIMEDOUT;
		usleep(200);
	}

	return 0;
}

int client_want_calls(struct vdpa_client *c)
{
	unsigned int i;

	for (i = 0; i < c->nvqs; i++) {
		c->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (c->call[i] < 0)
			return -errno;
	}

	return 0;
}

int client_wait_call(struct vdpa_client *c, int timeout_ms)
{
	struct pollfd p[CLIENT_RINGS];
	eventfd_t n;
	int i, r;

	for (i = 0; i < CLIENT_RINGS; i++)
		p[i] = (struct pollfd) { .fd = c->call[i], .events = POLLIN };
	r = poll(p, CLIENT_RINGS, timeout_ms);
	if (r <= 0)
		return r ? -errno : -ETIMEDOUT;
	for (i = 0; i < CLIENT_RINGS; i++)
		if (p[i].revents)
			eventfd_read(p[i].fd, &n);

	return 0;
}

void client_fill_frame(struct vdpa_client *c, uint8_t *frame, size_t len)
{
	struct ethhdr *eth = (struct ethhdr *)frame;
	size_t i;

	c->seed++;
	for (i = 0; i < len; i++)
		frame[i] = c->seed + i * 7;
	memcpy(eth->h_dest, c->mac, sizeof(c->mac));
	memcpy(eth->h_source, c->mac, sizeof(c->mac));
	eth->h_proto = htobe16(ETH_P_TEST);
}

static uint64_t in_iova(const struct vdpa_client *c)
{
	return c->in_iova ?: client_iova(c, c->page->in);
}

void client_post_buffer(struct vdpa_client *c, unsigned int slot)
{
	struct client_part in = { in_iova(c), sizeof(c->page->in), true };

	client_post(c, 0, slot, &in, 1);
}

void client_post_frame(struct vdpa_client *c, unsigned int slot)
{
	struct client_part out = {
		client_iova(c, c->page->out), sizeof(c->page->out), false
	};

	client_post(c, 1, slot, &out, 1);
}

static int client_io_net(struct vdpa_client *c, int timeout_ms)
{
	const size_t hdr = sizeof(struct virtio_net_hdr_v1);
	const size_t len = sizeof(c->page->out) - hdr;
	int r;

	r = client_wait(c, 1, timeout_ms);
	if (r || vdpa_given.no_loop)
		return r;
	r = client_wait(c, 0, timeout_ms);
	if (r)
		return r;

	return memcmp(c->page->out + hdr, c->page->in + hdr, len) ?
	       -EBADMSG : 0;
}

static void client_post_blk(struct vdpa_client *c, uint32_t type)
{
	bool in = type == VIRTIO_BLK_T_IN;
	struct virtio_blk_outhdr *hdr = (void *)c->page->ctrl;
	uint8_t *status = c->page->ctrl + sizeof(*hdr);
	struct client_part parts[] = {
		{ client_iova(c, hdr), sizeof(*hdr), false },
		{ in ? in_iova(c) : client_iova(c, c->page->out), SECTOR_SIZE, in },
		{ client_iova(c, status), 1, true },
	};

	memset(hdr, 0, sizeof(*hdr));
	hdr->type = htole32(type);
	*status = 0xff;
	client_post(c, 0, 0, parts, 3);
}

static int client_wait_blk(struct vdpa_client *c, int timeout_ms)
{
	uint8_t *status = c->page->ctrl + sizeof(struct virtio_blk_outhdr);

	return client_wait(c, 0, timeout_ms) ?:
	       *status == VIRTIO_BLK_S_OK ? 0 : -EBADMSG;
}

static int client_io_blk(struct vdpa_client *c, int timeout_ms)
{
	int r = client_wait_blk(c, timeout_ms);

	if (r)
		return r;
	client_post_blk(c, VIRTIO_BLK_T_IN);
	r = client_kick(c, 0);
	if (!r)
		r = client_wait_blk(c, timeout_ms);
	if (r)
		return r;

	return memcmp(c->page->out, c->page->in, SECTOR_SIZE) ? -EBADMSG : 0;
}

/* What client_io() begins with. Returns the ring to kick */
static unsigned int client_io_post(struct vdpa_client *c)
{
	const size_t hdr = sizeof(struct virtio_net_hdr_v1);
	struct client_page *p = c->page;

	if (c->device_id == VIRTIO_ID_NET) {
		memset(p->out, 0, hdr);
		memset(p->in, 0, sizeof(p->in));
		client_fill_frame(c, p->out + hdr, sizeof(p->out) - hdr);
		client_post_buffer(c, 0);
		client_post_frame(c, 0);
		return 1;
	}

	c->seed++;
	memset(p->out, c->seed, SECTOR_SIZE);
	memset(p->in, ~c->seed, SECTOR_SIZE);
	client_post_blk(c, VIRTIO_BLK_T_OUT);
	return 0;
}

int client_io(struct vdpa_client *c, int timeout_ms)
{
	uint64_t start = now_ms();
	unsigned int ms;
	int r;

	r = client_kick(c, client_io_post(c));
	if (!r)
		r = c->device_id == VIRTIO_ID_NET ?
		    client_io_net(c, timeout_ms) : client_io_blk(c, timeout_ms);
	ms = now_ms() - start + 1;
	if (!r && ms > c->io_ms)
		c->io_ms = ms;

	return r;
}

unsigned int client_window(const struct vdpa_client *c)
{
	unsigned int ms = 10 * c->io_ms;

	return !ms ? NO_IO_MS : ms < NO_IO_MS / 5 ? NO_IO_MS / 5 : ms;
}

bool client_refused(struct vdpa_client *c)
{
	return c->refusals >= 0 && vdpa_refusals(c->dev) > c->refusals;
}

int client_no_io(struct vdpa_client *c)
{
	struct client_page before;
	unsigned int ring = client_io_post(c);
	/* What is refused is counted, late as it may be */
	bool counted = c->refusals >= 0 && client_is_running(c);
	uint64_t end = now_ms() + (counted ? IO_TIMEOUT_MS : client_window(c));
	int r;

	before = *c->page;
	r = client_kick(c, ring);
	if (r)
		return r;
	while (now_ms() < end && !client_refused(c) &&
	       !memcmp(&before, c->page, sizeof(before)))
		usleep(200);

	if (memcmp(&before, c->page, sizeof(before)))
		return -EBADMSG;

	return counted && !client_refused(c) ? -ENODATA : 0;
}

static void client_work(const struct vdpa_dev *dev, unsigned int asid, int ready)
{
	struct vdpa_client c;

	if (client_open(&c, dev, asid) || client_ack(&c, c.features) ||
	    client_map(&c) || client_start(&c) ||
	    client_io(&c, IO_TIMEOUT_MS) || write(ready, "x", 1) != 1)
		return;
	for (;;) {
		if (vdpa_given.no_burst)
			pause();
		else
			client_io(&c, IO_TIMEOUT_MS);
	}
}

pid_t client_fork(const struct vdpa_dev *dev, unsigned int asid)
{
	char ready;
	pid_t pid;
	int p[2];

	if (pipe(p))
		return -errno;
	pid = fork();
	if (!pid) {
		end_with_parent();
		client_work(dev, asid, p[1]);
		_exit(1);
	}
	close(p[1]);
	if (pid > 0 && read(p[0], &ready, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = -EIO;
	}
	close(p[0]);

	return pid;
}

int client_burst(struct vdpa_client *c)
{
	struct virtio_blk_outhdr *hdr = (void *)c->page->ctrl;
	struct client_part parts[] = {
		{ client_iova(c, hdr), sizeof(*hdr), false },
		{ client_iova(c, c->page->in), CLIENT_BUF_SIZE - SECTOR_SIZE, true },
		{ client_iova(c, c->page->ctrl + sizeof(*hdr)), 1, true },
	};
	unsigned int i;

	if (vdpa_given.no_burst)
		return 0;
	if (c->device_id == VIRTIO_ID_NET) {
		for (i = 0; i < CLIENT_RING_NUM; i++) {
			client_post_buffer(c, i);
			client_post_frame(c, i);
		}
		return client_kick(c, 1);
	}

	memset(hdr, 0, sizeof(*hdr));
	for (i = 0; i + 3 <= CLIENT_RING_NUM; i += 3)
		client_post(c, 0, i, parts, 3);

	return client_kick(c, 0);
}

int client_ctrl(struct vdpa_client *c, int timeout_ms)
{
	struct virtio_net_ctrl_hdr *hdr = (void *)c->page->ctrl;
	uint8_t *mac = c->page->ctrl + sizeof(*hdr);
	uint8_t *ack = mac + sizeof(c->mac);
	struct client_part parts[] = {
		{ client_iova(c, hdr), sizeof(*hdr) + sizeof(c->mac), false },
		{ client_iova(c, ack), sizeof(*ack), true },
	};
	int r;

	hdr->class = VIRTIO_NET_CTRL_MAC;
	hdr->cmd = VIRTIO_NET_CTRL_MAC_ADDR_SET;
	memcpy(mac, c->mac, sizeof(c->mac));
	*ack = 0xff;
	client_post(c, 2, 0, parts, 2);

	r = client_kick(c, 2);
	if (!r)
		r = client_wait(c, 2, timeout_ms);

	return r ?: *ack == VIRTIO_NET_OK ? 0 : -EBADMSG;
}
