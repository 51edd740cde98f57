/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a device reaches, to the byte. The test says what it maps, and with which
 * permissions; reach_check() has the device read and write around each border of
 * that: what is mapped must be moved, from and to the right page, and a transfer
 * of which a byte is not mapped for it must fail and change nothing else.
 *
 * All that is mapped is memory of one block, whose pages are all different.
 */
#ifndef SELFTEST_VDPA_REACH_H
#define SELFTEST_VDPA_REACH_H

#include <stddef.h>
#include <stdint.h>

#define REACH_RANGES	8

struct vdpa_client;

struct reach_range {
	uint64_t iova;
	uint64_t size;
	uint64_t offset;	/* in the block, which is repeated after its end */
	uint8_t perm;		/* VHOST_ACCESS_... */
};

struct reach {
	struct vdpa_client *c;
	uint8_t *mem;		/* the block ... */
	size_t size;
	uint8_t *expected;	/* ... what is in there ... */
	uint8_t *alias;		/* ... and the block over and over */
	size_t alias_size;
	int fd;			/* of the block, if it is ours; else -1 */
	struct reach_range range[REACH_RANGES];
	unsigned int n;
	char why[160];
};

/* For a client that has acknowledged what it wants to and not started */
int reach_init(struct reach *r, struct vdpa_client *c, size_t size);
void reach_exit(struct reach *r);
/* The same, with a block that the caller has, and with what is in there */
int reach_init_at(struct reach *r, struct vdpa_client *c, uint8_t *mem, size_t size);
void reach_fill(uint8_t *mem, size_t size);
/* Have the block appear once after the other in @size bytes from r->alias on */
int reach_alias(struct reach *r, size_t size);

/* The client maps a part of the block, or of the alias; unmaps such a range */
int reach_map(struct reach *r, uint64_t iova, const uint8_t *addr,
	      uint64_t size, uint8_t perm);
int reach_unmap(struct reach *r, uint64_t iova, uint64_t size);

/* Does the device agree? "" or what it does that it should not */
const char *reach_check(struct reach *r);
/* ... or at one place only, when the client has started its device, up to 64 bytes */
const char *reach_probe(struct reach *r, uint64_t iova, unsigned int len);

#endif
