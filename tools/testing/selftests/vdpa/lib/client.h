/* SPDX-License-Identifier: GPL-2.0 */
/* A client of vhost-vdpa: what it maps, and the life of its virtio device */
#ifndef SELFTEST_VDPA_CLIENT_H
#define SELFTEST_VDPA_CLIENT_H

#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

struct vdpa_dev;

/* Since v6.7; a test skips where it is not offered */
#ifndef VHOST_BACKEND_F_IOTLB_PERSIST
#define VHOST_BACKEND_F_IOTLB_PERSIST 0x8
#endif
#ifndef VHOST_VDPA_RESUME
#define VHOST_BACKEND_F_RESUME	0x5
#define VHOST_VDPA_RESUME	_IO(VHOST_VIRTIO, 0x7E)
#endif
#ifndef VHOST_BACKEND_F_DESC_ASID
#define VHOST_BACKEND_F_DESC_ASID 0x7
#define VHOST_VDPA_GET_VRING_DESC_GROUP	_IOWR(VHOST_VIRTIO, 0x7F, \
					      struct vhost_vring_state)
#endif

#define F_DESC_ASID	BIT_ULL(VHOST_BACKEND_F_DESC_ASID)
#define F_PERSIST	BIT_ULL(VHOST_BACKEND_F_IOTLB_PERSIST)
#define F_BASIC		(BIT_ULL(VHOST_BACKEND_F_IOTLB_MSG_V2) | \
			 BIT_ULL(VHOST_BACKEND_F_IOTLB_BATCH) | \
			 BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID))

#define CLIENT_RINGS	3
#define CLIENT_RING_NUM	8
#define CLIENT_BUF_SIZE	1024

/* All that the device has to reach, in one page */
struct client_page {
	struct {
		struct vring_desc desc[CLIENT_RING_NUM];
		struct {
			uint16_t flags;
			uint16_t idx;
			uint16_t ring[CLIENT_RING_NUM];
		} alignas(64) avail;
		struct {
			uint16_t flags;
			uint16_t idx;
			struct vring_used_elem ring[CLIENT_RING_NUM];
		} alignas(64) used;
	} alignas(4096) ring[CLIENT_RINGS];
	uint8_t out[CLIENT_BUF_SIZE];
	uint8_t in[CLIENT_BUF_SIZE];
	uint8_t ctrl[64];
};

struct vdpa_client {
	int fd;
	struct vdpa_client *next;	/* that this process has open */
	const struct vdpa_dev *dev;
	uint32_t device_id;
	uint64_t features;	/* backend features that the device offers ... */
	uint64_t acked;		/* ... and those that are acknowledged */
	unsigned int asid;	/* of the group of virtqueue 0 ... */
	unsigned int ring_asid;	/* ... and of its rings, with F_DESC_ASID */
	unsigned int nvqs;
	uint64_t iova;		/* where the device finds the page ... */
	uint64_t in_iova;	/* where it writes to, if not in the page */
	uint64_t ring_iova;	/* ... and the rings of virtqueues 0 and 1; 0: there */
	struct client_page *page;
	bool page_is_lent;	/* it is there after client_close() */
	int kick[CLIENT_RINGS];
	uint16_t *doorbell;	/* instead of these, if it is mapped */
	int call[CLIENT_RINGS];
	uint8_t mac[6];
	uint8_t seed;		/* makes each request different */
	long refusals;		/* when it was started; -1 if nobody counts them */
	unsigned int io_ms;	/* that the slowest I/O took; 0: there was none */
	uint32_t base[CLIENT_RINGS];
	bool keep_rings;	/* the next client_start() goes on at the bases */
	bool packed;		/* its rings are, from the next client_start() on ... */
	uint16_t avail[CLIENT_RINGS];	/* ... and where it goes on, see packed.h, ... */
	uint16_t last[CLIENT_RINGS];	/* ... after the request that begins there */
};

/* client_open() negotiates nothing, client_ack() acknowledges @features */
int client_open(struct vdpa_client *c, const struct vdpa_dev *dev,
		unsigned int asid);
void client_close(struct vdpa_client *c);
/* All that this process has open of the device */
void clients_close(const struct vdpa_dev *dev);
/* Instead of the page that client_open() has made, use another one's */
void client_borrow_page(struct vdpa_client *c, struct client_page *page);
int client_ack(struct vdpa_client *c, uint64_t features);
/* Read @len bytes of the device's configuration into @buf, from @offset on */
int client_get_config(struct vdpa_client *c, uint32_t offset, void *buf, uint32_t len);

int client_map_at(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		  const void *addr, uint64_t size);
int client_unmap_at(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		    uint64_t size);
/* Begin or end a batch of the above */
int client_batch(struct vdpa_client *c, unsigned int asid, bool begin);
/* With the permissions @perm, VHOST_ACCESS_... */
int client_map_perm(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		    const void *addr, uint64_t size, uint8_t perm);
/* The page itself */
int client_map(struct vdpa_client *c);
int client_unmap(struct vdpa_client *c);

/* The virtio life cycle; client_start() sets the rings up as empty ones */
int client_reset(struct vdpa_client *c);
int client_start(struct vdpa_client *c);
/* Tell the kernel the eventfd of a ring; client_start() does it for all */
int client_set_call(struct vdpa_client *c, unsigned int ring);
/* Did the device take DRIVER_OK? */
bool client_is_running(struct vdpa_client *c);
/* Does it say that it did not, or that it needs a reset? */
bool client_has_failed(struct vdpa_client *c);
/* Suspend, and have the next start go on where the device stopped */
int client_suspend(struct vdpa_client *c);
/* The latter alone: nothing is in flight */
int client_get_bases(struct vdpa_client *c);
/* Have it go on by itself. -ENOTTY: this kernel has no such thing; -EOPNOTSUPP: the
 * device has not
 */
int client_resume(struct vdpa_client *c);
/* The group of a virtqueue, and that of its rings; negative: errno */
int client_group(struct vdpa_client *c, unsigned int vq);
int client_desc_group(struct vdpa_client *c, unsigned int vq);
/* Bind the group of a virtqueue to an address space */
int client_set_group_asid(struct vdpa_client *c, unsigned int vq,
			  unsigned int asid);

#endif
