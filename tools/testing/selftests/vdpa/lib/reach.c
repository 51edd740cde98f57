// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client.h"
#include "io.h"
#include "reach.h"
#include "util.h"

/* The longest transfer, which is over the end of a page */
#define SPAN		64
/* What a frame begins with: the header of virtio, and that of Ethernet */
#define HEAD		(sizeof(struct virtio_net_hdr_v1) + ETH_HLEN)

/* The block */

static uint8_t pattern(size_t i)
{
	return (i * 2654435761U >> 11) ^ i >> 12;
}

/* In an order of its own, so that its pages do not follow each other */
void reach_fill(uint8_t *mem, size_t size)
{
	size_t page = getpagesize(), n = size / page, i, at;

	for (i = 0; i < n; i++)
		mem[(i * 7 + 3) % n * page] = 1;
	for (at = 0; at < size; at++)
		mem[at] = pattern(at);
}

int reach_init_at(struct reach *r, struct vdpa_client *c, uint8_t *mem, size_t size)
{
	memset(r, 0, sizeof(*r));
	r->c = c;
	r->mem = mem;
	r->size = size;
	r->fd = -1;
	r->expected = malloc(size);
	if (!r->expected)
		return -ENOMEM;
	memcpy(r->expected, mem, size);

	return 0;
}

int reach_init(struct reach *r, struct vdpa_client *c, size_t size)
{
	int fd = memfd_create("reach", MFD_CLOEXEC);
	uint8_t *mem;
	int err;

	memset(r, 0, sizeof(*r));
	if (fd < 0)
		return -ENOMEM;
	mem = ftruncate(fd, size) ? MAP_FAILED :
	      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED) {
		close(fd);
		return -ENOMEM;
	}
	reach_fill(mem, size);
	err = reach_init_at(r, c, mem, size);
	r->fd = fd;

	return err;
}

void reach_exit(struct reach *r)
{
	if (r->alias)
		munmap(r->alias, r->alias_size);
	if (r->fd > 0) {
		munmap(r->mem, r->size);
		close(r->fd);
	}
	free(r->expected);
}

int reach_alias(struct reach *r, size_t size)
{
	size_t at;

	r->alias = mmap(NULL, size, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->alias == MAP_FAILED) {
		r->alias = NULL;
		return -ENOMEM;
	}
	r->alias_size = size;
	for (at = 0; at < size; at += r->size)
		if (mmap(r->alias + at, r->size < size - at ? r->size : size - at,
			 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED |
			 MAP_POPULATE, r->fd, 0) == MAP_FAILED)
			return -ENOMEM;

	return 0;
}

/* What is mapped */

int reach_map(struct reach *r, uint64_t iova, const uint8_t *addr,
	      uint64_t size, uint8_t perm)
{
	bool alias = r->alias && addr >= r->alias &&
		     addr < r->alias + r->alias_size;
	int err;

	if (r->n == REACH_RANGES)
		return -ENOSPC;
	err = client_map_perm(r->c, r->c->asid, iova, addr, size, perm);
	if (err)
		return err;
	r->range[r->n++] = (struct reach_range) {
		.iova = iova,
		.size = size,
		.offset = addr - (alias ? r->alias : r->mem),
		.perm = perm,
	};

	return 0;
}

int reach_unmap(struct reach *r, uint64_t iova, uint64_t size)
{
	unsigned int i;

	for (i = 0; i < r->n; i++)
		if (r->range[i].iova == iova && r->range[i].size == size)
			break;
	if (i == r->n)
		return -ENOENT;
	r->range[i] = r->range[--r->n];

	return client_unmap_at(r->c, r->c->asid, iova, size);
}

/* Where in the block is what may be accessed like that? -1: nowhere */
static long reach_offset(const struct reach *r, uint64_t iova, uint8_t perm)
{
	const struct reach_range *range;

	for (range = r->range; range < r->range + r->n; range++)
		if (iova - range->iova < range->size)
			return range->perm & perm ?
			       (long)((range->offset + iova - range->iova) %
				      r->size) : -1;

	return -1;
}

static bool reach_all(const struct reach *r, uint64_t iova, unsigned int len,
		      uint8_t perm)
{
	unsigned int i;

	for (i = 0; i < len; i++)
		if (reach_offset(r, iova + i, perm) < 0)
			return false;

	return true;
}

/* Transfers */

/* Until the device has done it, or was refused, or has had time enough */
static int await(struct vdpa_client *c, unsigned int ring, unsigned int ms)
{
	uint64_t end = now_ms() + ms;

	while (client_wait(c, ring, 0)) {
		if (client_refused(c))
			return -EACCES;
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(100);
	}

	return 0;
}

/*
 * A frame, the part of which behind the header is read from @iova or written
 * there. The header tells it from frames that were sent before.
 */
static int move_net(struct vdpa_client *c, uint64_t iova, uint32_t len,
		    bool write, unsigned int ms)
{
	struct client_page *p = c->page;
	struct client_part out[] = {
		{ client_iova(c, p->out), HEAD + (write ? len : 0), false },
		{ iova, len, false },
	};
	struct client_part in[] = {
		{ client_iova(c, p->in), write ? HEAD : sizeof(p->in), true },
		{ iova, len, true },
	};
	uint8_t *eth = p->out + HEAD - ETH_HLEN;
	uint16_t last;
	int r;

	memset(p->out, 0, HEAD);
	memcpy(eth, c->mac, ETH_ALEN);
	eth[ETH_ALEN + 1] = ++c->seed;
	memset(p->in, 0, sizeof(p->in));
	client_post(c, 0, 0, in, write ? 2 : 1);
	client_post(c, 1, 0, out, write ? 1 : 2);
	/* When it has been sent, it has been received, or almost */
	r = client_kick(c, 1) ?: await(c, 1, ms) ?: await(c, 0, ms / 4);
	/* A buffer that could not be filled may come back with nothing in it */
	last = p->ring[0].used.idx - 1;
	if (!r && !p->ring[0].used.ring[last % CLIENT_RING_NUM].len)
		r = -EIO;

	return r ?: memcmp(eth, p->in + HEAD - ETH_HLEN, ETH_HLEN) ?
	       -EBADMSG : 0;
}

static int blk_request(struct vdpa_client *c, uint32_t type, uint64_t iova,
		       uint32_t len, unsigned int ms)
{
	struct virtio_blk_outhdr *hdr = (void *)c->page->ctrl;
	uint8_t *status = c->page->ctrl + sizeof(*hdr);
	struct client_part parts[] = {
		{ client_iova(c, hdr), sizeof(*hdr), false },
		{ iova, len, type == VIRTIO_BLK_T_IN },
		{ client_iova(c, status), 1, true },
	};
	int r;

	memset(hdr, 0, sizeof(*hdr));
	hdr->type = htole32(type);
	*status = 0xff;
	client_post(c, 0, 0, parts, 3);
	r = client_kick(c, 0) ?: await(c, 0, ms);

	return r ?: *status == VIRTIO_BLK_S_OK ? 0 : -EIO;
}

/* From there to the disk and back into the page, or the other way round */
static int move_blk(struct vdpa_client *c, uint64_t iova, uint32_t len,
		    bool write, unsigned int ms)
{
	uint64_t from = write ? client_iova(c, c->page->out + HEAD) : iova;
	uint64_t to = write ? iova : client_iova(c, c->page->in + HEAD);

	return blk_request(c, VIRTIO_BLK_T_OUT, from, len, ms) ?:
	       blk_request(c, VIRTIO_BLK_T_IN, to, len, ms);
}

/*
 * By way of a buffer in the page. A device that @may do it has time enough.
 * -EBADMSG: something else was moved
 */
static int move(struct vdpa_client *c, uint64_t iova, uint32_t len, bool write,
		bool may)
{
	unsigned int ms = may ? IO_TIMEOUT_MS : client_window(c);

	return c->device_id == VIRTIO_ID_NET ?
	       move_net(c, iova, len, write, ms) :
	       move_blk(c, iova, len, write, ms);
}

/* Checks */

static int complain(struct reach *r, const char *what, uint64_t iova,
		    unsigned int len, int err)
{
	snprintf(r->why, sizeof(r->why), "%s: %u bytes at %#llx (%d)", what, len,
		 (unsigned long long)iova, err);

	return -1;
}

/* A device that was refused something goes on after a reset */
static int start_again(struct reach *r)
{
	if (client_reset(r->c) || client_start(r->c))
		return complain(r, "does not restart", 0, 0, 0);

	return 0;
}

static int check_read(struct reach *r, uint64_t iova, unsigned int len)
{
	const uint8_t *got = r->c->page->in + HEAD;
	bool may = reach_all(r, iova, len, VHOST_ACCESS_RO);
	int err = move(r->c, iova, len, false, may);
	unsigned int i;

	if (err == -EBADMSG)
		return complain(r, "delivers another frame", iova, len, 0);
	if (!may && !err)
		return complain(r, "reads what is not mapped", iova, len, 0);
	if (!may)
		return start_again(r);
	if (err)
		return complain(r, "does not read what is mapped", iova, len, err);
	for (i = 0; i < len; i++)
		if (got[i] != r->expected[reach_offset(r, iova + i,
						       VHOST_ACCESS_RO)])
			return complain(r, "reads another page", iova, len, i);

	return 0;
}

static int check_write(struct reach *r, uint64_t iova, unsigned int len)
{
	bool may = reach_all(r, iova, len, VHOST_ACCESS_WO);
	uint8_t *data = r->c->page->out + HEAD;
	unsigned int i;
	long at;
	int err;

	for (i = 0; i < len; i++)
		data[i] = ~pattern(iova + i) + r->c->seed;
	err = move(r->c, iova, len, true, may);
	for (i = 0; i < len; i++) {
		at = reach_offset(r, iova + i, VHOST_ACCESS_WO);
		/* A transfer that fails may have come as far as that */
		if (at >= 0)
			r->expected[at] = err ? r->mem[at] : data[i];
	}

	if (memcmp(r->mem, r->expected, r->size))
		return complain(r, "writes another page", iova, len, err);
	if (!may && !err)
		return complain(r, "writes what is not mapped", iova, len, 0);
	if (!may)
		return start_again(r);
	if (err)
		return complain(r, "does not write what is mapped", iova, len, err);

	return 0;
}

static int check_at(struct reach *r, uint64_t iova, unsigned int len)
{
	return check_read(r, iova, len) ?: check_write(r, iova, len);
}

const char *reach_probe(struct reach *r, uint64_t iova, unsigned int len)
{
	r->why[0] = '\0';
	check_at(r, iova, len);

	return r->why;
}

/* Around a border: a byte on either side, and over it */
static int check_border(struct reach *r, uint64_t iova)
{
	return check_at(r, iova - 1, 1) ?: check_at(r, iova, 1) ?:
	       check_at(r, iova - SPAN / 2, SPAN);
}

static int check_range(struct reach *r, const struct reach_range *range)
{
	uint64_t page = getpagesize();
	uint64_t start = range->iova, end = range->iova + range->size;
	uint64_t gib = (start | (GIB - 1)) + 1;
	int err = check_border(r, start);

	/* Unless the next one begins there */
	if (!err && reach_offset(r, end, VHOST_ACCESS_RW) < 0)
		err = check_border(r, end);
	/* Within: over the end of the first page, the last, and a whole GiB */
	if (!err && range->size > page)
		err = check_at(r, start + page - SPAN / 2, SPAN);
	if (!err && range->size > 2 * page)
		err = check_at(r, end - page - SPAN / 2, SPAN);
	if (!err && gib < end)
		err = check_at(r, gib - SPAN / 2, SPAN);

	return err;
}

const char *reach_check(struct reach *r)
{
	unsigned int i;

	r->why[0] = '\0';
	if (client_start(r->c))
		complain(r, "does not start", 0, 0, 0);
	else if (client_io(r->c, IO_TIMEOUT_MS))
		complain(r, "does not work", 0, 0, 0);
	for (i = 0; !r->why[0] && i < r->n; i++)
		if (check_range(r, &r->range[i]))
			break;
	if (client_reset(r->c) && !r->why[0])
		complain(r, "is not reset", 0, 0, 0);

	return r->why;
}
