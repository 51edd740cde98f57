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
#include "util.h"

#define SECTOR_SIZE	512

struct part {
	void *addr;		/* in the page */
	uint32_t len;
	bool in;		/* the device writes it */
};

static void client_post(struct vdpa_client *c, unsigned int ring,
			unsigned int first, const struct part *parts,
			unsigned int n)
{
	struct vring_desc *desc = c->page->ring[ring].desc;
	uint16_t *avail_idx = &c->page->ring[ring].avail.idx;
	unsigned int i;

	for (i = 0; i < n; i++) {
		desc[first + i].addr = c->iova +
			((uint8_t *)parts[i].addr - (uint8_t *)c->page);
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
	return eventfd_write(c->kick[ring], 1) ? -errno : 0;
}

int client_wait(struct vdpa_client *c, unsigned int ring, int timeout_ms)
{
	uint16_t *used = &c->page->ring[ring].used.idx;
	uint64_t end = now_ms() + timeout_ms;

	while (__atomic_load_n(used, __ATOMIC_ACQUIRE) !=
	       c->page->ring[ring].avail.idx) {
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

void client_post_buffer(struct vdpa_client *c, unsigned int slot)
{
	struct part in = { c->page->in, sizeof(c->page->in), true };

	client_post(c, 0, slot, &in, 1);
}

void client_post_frame(struct vdpa_client *c, unsigned int slot)
{
	struct part out = { c->page->out, sizeof(c->page->out), false };

	client_post(c, 1, slot, &out, 1);
}

static int client_io_net(struct vdpa_client *c, int timeout_ms)
{
	const size_t hdr = sizeof(struct virtio_net_hdr_v1);
	const size_t len = sizeof(c->page->out) - hdr;
	int r;

	memset(c->page->out, 0, hdr);
	memset(c->page->in, 0, sizeof(c->page->in));
	client_fill_frame(c, c->page->out + hdr, len);
	client_post_buffer(c, 0);
	client_post_frame(c, 0);

	r = client_kick(c, 1);
	if (!r)
		r = client_wait(c, 1, timeout_ms);
	if (r || vdpa_given.no_loop)
		return r;
	r = client_wait(c, 0, timeout_ms);
	if (r)
		return r;

	return memcmp(c->page->out + hdr, c->page->in + hdr, len) ?
	       -EBADMSG : 0;
}

static int client_io_blk_one(struct vdpa_client *c, uint32_t type,
			     uint8_t *data, int timeout_ms)
{
	struct virtio_blk_outhdr *hdr = (void *)c->page->ctrl;
	uint8_t *status = c->page->ctrl + sizeof(*hdr);
	struct part parts[] = {
		{ hdr, sizeof(*hdr), false },
		{ data, SECTOR_SIZE, type == VIRTIO_BLK_T_IN },
		{ status, 1, true },
	};
	int r;

	memset(hdr, 0, sizeof(*hdr));
	hdr->type = htole32(type);
	*status = 0xff;
	client_post(c, 0, 0, parts, 3);

	r = client_kick(c, 0);
	if (!r)
		r = client_wait(c, 0, timeout_ms);

	return r ?: *status == VIRTIO_BLK_S_OK ? 0 : -EBADMSG;
}

static int client_io_blk(struct vdpa_client *c, int timeout_ms)
{
	int r;

	c->seed++;
	memset(c->page->out, c->seed, SECTOR_SIZE);
	memset(c->page->in, ~c->seed, SECTOR_SIZE);

	r = client_io_blk_one(c, VIRTIO_BLK_T_OUT, c->page->out, timeout_ms);
	if (!r)
		r = client_io_blk_one(c, VIRTIO_BLK_T_IN, c->page->in,
				      timeout_ms);
	if (r)
		return r;

	return memcmp(c->page->out, c->page->in, SECTOR_SIZE) ? -EBADMSG : 0;
}

int client_io(struct vdpa_client *c, int timeout_ms)
{
	if (c->device_id == VIRTIO_ID_NET)
		return client_io_net(c, timeout_ms);

	return client_io_blk(c, timeout_ms);
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
	struct part parts[] = {
		{ hdr, sizeof(*hdr), false },
		{ c->page->in, CLIENT_BUF_SIZE - SECTOR_SIZE, true },
		{ c->page->ctrl + sizeof(*hdr), 1, true },
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
	struct part parts[] = {
		{ hdr, sizeof(*hdr) + sizeof(c->mac), false },
		{ ack, sizeof(*ack), true },
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
