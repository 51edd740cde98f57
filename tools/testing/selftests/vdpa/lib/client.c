// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client.h"
#include "dev.h"
#include "packed.h"
#include "util.h"

/* The kernel's header, if it has them, must not have others than mainline */
static_assert(VHOST_BACKEND_F_DESC_ASID == 7 && VHOST_BACKEND_F_IOTLB_PERSIST == 8,
	      "backend features");
static_assert(VHOST_VDPA_GET_VRING_DESC_GROUP ==
	      _IOWR(0xaf, 0x7f, struct vhost_vring_state), "ioctl");

/* Mappings */

static int client_msg(struct vdpa_client *c, unsigned int asid, uint8_t type,
		      uint64_t iova, const void *addr, uint64_t size,
		      uint8_t perm)
{
	struct vhost_msg_v2 msg = {
		.type = VHOST_IOTLB_MSG_V2,
		.asid = asid,
		.iotlb = {
			.type = type,
			.iova = iova,
			.uaddr = (uintptr_t)addr,
			.size = size,
			.perm = perm,
		},
	};

	return write(c->fd, &msg, sizeof(msg)) == sizeof(msg) ? 0 : -errno;
}

int client_map_at(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		  const void *addr, uint64_t size)
{
	return client_map_perm(c, asid, iova, addr, size, VHOST_ACCESS_RW);
}

int client_map_perm(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		    const void *addr, uint64_t size, uint8_t perm)
{
	return client_msg(c, asid, VHOST_IOTLB_UPDATE, iova, addr, size, perm);
}

int client_unmap_at(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		    uint64_t size)
{
	return client_msg(c, asid, VHOST_IOTLB_INVALIDATE, iova, NULL, size, 0);
}

int client_batch(struct vdpa_client *c, unsigned int asid, bool begin)
{
	return client_msg(c, asid, begin ? VHOST_IOTLB_BATCH_BEGIN :
			  VHOST_IOTLB_BATCH_END, 0, NULL, 0, 0);
}

int client_map(struct vdpa_client *c)
{
	return client_map_at(c, c->asid, c->iova, c->page, sizeof(*c->page));
}

int client_unmap(struct vdpa_client *c)
{
	return client_unmap_at(c, c->asid, c->iova, sizeof(*c->page));
}

/* Life cycle */

static int client_init(struct vdpa_client *c, const struct vdpa_dev *dev)
{
	struct vhost_vdpa_iova_range range;
	uint32_t nvqs = 1;
	int i;

	if (ioctl(c->fd, VHOST_SET_OWNER) ||
	    ioctl(c->fd, VHOST_VDPA_GET_DEVICE_ID, &c->device_id) ||
	    ioctl(c->fd, VHOST_GET_BACKEND_FEATURES, &c->features) ||
	    ioctl(c->fd, VHOST_VDPA_GET_IOVA_RANGE, &range))
		return -errno;

	/* Older kernels don't tell; there, a network device has no more either */
	if (ioctl(c->fd, VHOST_VDPA_GET_VQS_COUNT, &nvqs))
		nvqs = c->device_id == VIRTIO_ID_NET ? 2 : 1;
	c->nvqs = nvqs < CLIENT_RINGS ? nvqs : CLIENT_RINGS;
	c->iova = range.first > 0x100000 ? range.first : 0x100000;

	c->page = vdpa_dev_alloc(dev, sizeof(*c->page));
	if (!c->page)
		return -errno;

	for (i = 0; i < CLIENT_RINGS; i++) {
		c->kick[i] = eventfd(0, EFD_CLOEXEC);
		if (c->kick[i] < 0)
			return -errno;
	}

	return 0;
}

static struct vdpa_client *clients;

int client_open(struct vdpa_client *c, const struct vdpa_dev *dev,
		unsigned int asid)
{
	int i, r;

	memset(c, 0, sizeof(*c));
	for (i = 0; i < CLIENT_RINGS; i++) {
		c->kick[i] = -1;
		c->call[i] = -1;
	}
	c->asid = asid;
	c->ring_asid = asid;
	c->packed = vdpa_given.packed;
	c->dev = dev;
	c->fd = open(dev->path, O_RDWR | O_CLOEXEC);
	if (c->fd < 0)
		return -errno;

	c->next = clients;
	clients = c;

	r = client_init(c, dev);
	if (r)
		client_close(c);

	return r;
}

void client_close(struct vdpa_client *c)
{
	struct vdpa_client **link;
	int i;

	for (link = &clients; *link; link = &(*link)->next) {
		if (*link != c)
			continue;
		*link = c->next;
		break;
	}
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	for (i = 0; i < CLIENT_RINGS; i++) {
		if (c->kick[i] >= 0)
			close(c->kick[i]);
		if (c->call[i] >= 0)
			close(c->call[i]);
		c->kick[i] = -1;
		c->call[i] = -1;
	}
	if (c->page && !c->page_is_lent)
		munmap(c->page, sizeof(*c->page));
	c->page = NULL;
}

void clients_close(const struct vdpa_dev *dev)
{
	struct vdpa_client *c = clients, *next;

	for (; c; c = next) {
		next = c->next;
		if (c->dev == dev)
			client_close(c);
	}
}

void client_borrow_page(struct vdpa_client *c, struct client_page *page)
{
	munmap(c->page, sizeof(*c->page));
	c->page = page;
	c->page_is_lent = true;
}

int client_get_config(struct vdpa_client *c, uint32_t offset, void *buf, uint32_t len)
{
	struct vhost_vdpa_config *config = calloc(1, sizeof(*config) + len);
	int r = 0;

	if (!config)
		return -ENOMEM;
	config->off = offset;
	config->len = len;
	if (ioctl(c->fd, VHOST_VDPA_GET_CONFIG, config))
		r = -errno;
	else
		memcpy(buf, config->buf, len);
	free(config);

	return r;
}

int client_ack(struct vdpa_client *c, uint64_t features)
{
	if (ioctl(c->fd, VHOST_SET_BACKEND_FEATURES, &features))
		return -errno;
	c->acked = features;

	return 0;
}

static int client_status(struct vdpa_client *c, uint8_t status)
{
	return ioctl(c->fd, VHOST_VDPA_SET_STATUS, &status) ? -errno : 0;
}

int client_reset(struct vdpa_client *c)
{
	return client_status(c, 0);
}

bool client_is_running(struct vdpa_client *c)
{
	uint8_t status = 0;

	return !ioctl(c->fd, VHOST_VDPA_GET_STATUS, &status) &&
	       status & VIRTIO_CONFIG_S_DRIVER_OK &&
	       !(status & VIRTIO_CONFIG_S_FAILED);
}

bool client_has_failed(struct vdpa_client *c)
{
	uint8_t status = 0;

	return !ioctl(c->fd, VHOST_VDPA_GET_STATUS, &status) &&
	       status & VIRTIO_CONFIG_S_FAILED;
}

int client_get_bases(struct vdpa_client *c)
{
	struct vhost_vring_state base;
	unsigned int i;

	for (i = 0; i < c->nvqs; i++) {
		base.index = i;
		if (ioctl(c->fd, VHOST_GET_VRING_BASE, &base))
			return -errno;
		c->base[i] = base.num;
	}
	c->keep_rings = true;

	return 0;
}

int client_suspend(struct vdpa_client *c)
{
	return ioctl(c->fd, VHOST_VDPA_SUSPEND) ? -errno : client_get_bases(c);
}

int client_resume(struct vdpa_client *c)
{
	if (ioctl(c->fd, VHOST_VDPA_RESUME))
		return -errno;
	c->keep_rings = false;

	return 0;
}

int client_group(struct vdpa_client *c, unsigned int vq)
{
	struct vhost_vring_state s = { .index = vq };

	return ioctl(c->fd, VHOST_VDPA_GET_VRING_GROUP, &s) ? -errno : (int)s.num;
}

int client_desc_group(struct vdpa_client *c, unsigned int vq)
{
	struct vhost_vring_state s = { .index = vq };

	return ioctl(c->fd, VHOST_VDPA_GET_VRING_DESC_GROUP, &s) ?
	       -errno : (int)s.num;
}

/* A group, or why there is none */
static int client_bind_group(struct vdpa_client *c, int group, unsigned int asid)
{
	struct vhost_vring_state s = { .index = group, .num = asid };

	if (group < 0)
		return group;

	return ioctl(c->fd, VHOST_VDPA_SET_GROUP_ASID, &s) ? -errno : 0;
}

int client_set_group_asid(struct vdpa_client *c, unsigned int vq,
			  unsigned int asid)
{
	return client_bind_group(c, client_group(c, vq), asid);
}

int client_set_call(struct vdpa_client *c, unsigned int i)
{
	struct vhost_vring_file call = { .index = i, .fd = c->call[i] };

	return ioctl(c->fd, VHOST_SET_VRING_CALL, &call) ? -errno : 0;
}

static int client_start_ring(struct vdpa_client *c, unsigned int i)
{
	uint64_t page = c->ring_iova && i < 2 ? c->ring_iova : c->iova;
	uint64_t ring = page + offsetof(struct client_page, ring[i]);
	struct vhost_vring_state num = { .index = i, .num = CLIENT_RING_NUM };
	struct vhost_vring_state base = { .index = i, .num = c->base[i] };
	struct vhost_vring_state enable = { .index = i, .num = 1 };
	struct vhost_vring_file kick = { .index = i, .fd = c->kick[i] };
	struct vhost_vring_addr addr = {
		.index = i,
		.desc_user_addr = ring,
		.avail_user_addr = ring + offsetof(struct client_page, ring[0].avail),
		.used_user_addr = ring + offsetof(struct client_page, ring[0].used),
	};

	if (ioctl(c->fd, VHOST_SET_VRING_NUM, &num) ||
	    ioctl(c->fd, VHOST_SET_VRING_BASE, &base) ||
	    ioctl(c->fd, VHOST_SET_VRING_ADDR, &addr) ||
	    ioctl(c->fd, VHOST_SET_VRING_KICK, &kick) ||
	    (c->call[i] >= 0 && client_set_call(c, i)) ||
	    ioctl(c->fd, VHOST_VDPA_SET_VRING_ENABLE, &enable))
		return -errno;

	return 0;
}

static int client_negotiate(struct vdpa_client *c)
{
	const uint64_t want = BIT_ULL(VIRTIO_F_VERSION_1) |
			      BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) |
			      (c->device_id == VIRTIO_ID_NET ?
			       BIT_ULL(VIRTIO_NET_F_MAC) |
			       BIT_ULL(VIRTIO_NET_F_STATUS) |
			       BIT_ULL(VIRTIO_NET_F_CTRL_VQ) |
			       BIT_ULL(VIRTIO_NET_F_CTRL_MAC_ADDR) : 0);
	const uint64_t packed = c->packed ? BIT_ULL(VIRTIO_F_RING_PACKED) : 0;
	uint64_t features;

	if (ioctl(c->fd, VHOST_GET_FEATURES, &features))
		return -errno;
	if ((features & packed) != packed)
		return -EOPNOTSUPP;
	features &= want | packed;
	if (ioctl(c->fd, VHOST_SET_FEATURES, &features))
		return -errno;
	if (!(features & BIT_ULL(VIRTIO_NET_F_MAC)))
		return 0;

	return client_get_config(c, offsetof(struct virtio_net_config, mac), c->mac,
				 sizeof(c->mac));
}

/* All that the device knows of them begins anew */
static void client_empty_rings(struct vdpa_client *c)
{
	unsigned int i;

	memset(c->page->ring, 0, sizeof(c->page->ring));
	for (i = 0; i < CLIENT_RINGS; i++) {
		c->base[i] = c->packed ? PACKED_START << 16 | PACKED_START : 0;
		c->avail[i] = PACKED_START;
	}
}

int client_start(struct vdpa_client *c)
{
	const uint8_t found = VIRTIO_CONFIG_S_ACKNOWLEDGE |
			      VIRTIO_CONFIG_S_DRIVER;
	unsigned int i;
	int r;

	if (!c->keep_rings)
		client_empty_rings(c);
	c->keep_rings = false;
	c->refusals = vdpa_refusals(c->dev);

	r = client_status(c, found);
	if (!r)
		r = client_negotiate(c);
	if (!r)
		r = client_status(c, found | VIRTIO_CONFIG_S_FEATURES_OK);
	if (!r && c->asid)
		r = client_set_group_asid(c, 0, c->asid);
	if (!r && c->ring_asid && c->acked & F_DESC_ASID)
		r = client_bind_group(c, client_desc_group(c, 0), c->ring_asid);
	for (i = 0; !r && i < c->nvqs; i++)
		r = client_start_ring(c, i);
	if (!r)
		r = client_status(c, found | VIRTIO_CONFIG_S_FEATURES_OK |
				  VIRTIO_CONFIG_S_DRIVER_OK);

	return r;
}
