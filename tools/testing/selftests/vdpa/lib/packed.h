/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where one is in a packed ring: the index of a descriptor, and in bit 15 the wrap
 * counter, which is what vhost and VDUSE say of a virtqueue. It begins at PACKED_START.
 */
#ifndef SELFTEST_VDPA_PACKED_H
#define SELFTEST_VDPA_PACKED_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "util.h"

#define PACKED_WRAP	0x8000U
#define PACKED_INDEX	0x7fff
#define PACKED_START	PACKED_WRAP

#define PACKED_AVAIL	BIT_ULL(VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED	BIT_ULL(VRING_PACKED_DESC_F_USED)

/* @n descriptors further in a ring of @num */
static inline uint16_t packed_after(uint16_t at, unsigned int n, unsigned int num)
{
	unsigned int index = (at & PACKED_INDEX) + n;

	return index < num ? (at & PACKED_WRAP) | index :
	       (~at & PACKED_WRAP) | (index - num);
}

/* The flags of what is available there, and of what is used */
static inline uint16_t packed_avail(uint16_t at)
{
	return at & PACKED_WRAP ? PACKED_AVAIL : PACKED_USED;
}

static inline uint16_t packed_used(uint16_t at)
{
	return at & PACKED_WRAP ? PACKED_AVAIL | PACKED_USED : 0;
}

static inline bool packed_is(const struct vring_packed_desc *ring, uint16_t at,
			     uint16_t flags)
{
	uint16_t now = __atomic_load_n(&ring[at & PACKED_INDEX].flags, __ATOMIC_ACQUIRE);

	return (now & (PACKED_AVAIL | PACKED_USED)) == flags;
}

#endif
