/* SPDX-License-Identifier: GPL-2.0 */
/* What a client has its device do with the virtqueues */
#ifndef SELFTEST_VDPA_IO_H
#define SELFTEST_VDPA_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vdpa_client;
struct vdpa_dev;

/* How long a device may take, and how long one that must not react is watched */
#define IO_TIMEOUT_MS	5000
#define NO_IO_MS	100

/*
 * Have the device move data: a frame that comes back, or a sector that is
 * written and read. -ETIMEDOUT: it did not react; -EBADMSG: what came back is
 * not what was sent.
 */
int client_io(struct vdpa_client *c, int timeout_ms);
/* Fill the rings and do not wait */
int client_burst(struct vdpa_client *c);
/*
 * A process that opens the device, maps, starts and works until it is killed.
 * Returns its number once it works.
 */
pid_t client_fork(const struct vdpa_dev *dev, unsigned int asid);
/* Parts of the above: a buffer, a frame; until all of a ring is used */
void client_post_buffer(struct vdpa_client *c, unsigned int slot);
void client_post_frame(struct vdpa_client *c, unsigned int slot);
int client_kick(struct vdpa_client *c, unsigned int ring);
int client_wait(struct vdpa_client *c, unsigned int ring, int timeout_ms);
/* From its next start on, have the device say that it has used something ... */
int client_want_calls(struct vdpa_client *c);
/* ... and wait until it does so for any ring. -ETIMEDOUT: it does not */
int client_wait_call(struct vdpa_client *c, int timeout_ms);
/* Set the MAC address of a network device through its control virtqueue */
int client_ctrl(struct vdpa_client *c, int timeout_ms);

#define ETH_P_TEST	0x88b5	/* IEEE 802: local experimental */
/* A frame to oneself, different each time */
void client_fill_frame(struct vdpa_client *c, uint8_t *frame, size_t len);

#endif
