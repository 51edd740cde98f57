/* SPDX-License-Identifier: GPL-2.0 */
/* What a client has its device do with the virtqueues */
#ifndef SELFTEST_VDPA_IO_H
#define SELFTEST_VDPA_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vdpa_client;
struct vdpa_dev;

/* How long a device may take */
#define IO_TIMEOUT_MS	5000
/* How long one that must not react is watched, if no I/O has been timed yet */
#define NO_IO_MS	100

/*
 * Have the device move data: a frame that comes back, or a sector that is
 * written and read. -ETIMEDOUT: it did not react; -EBADMSG: what came back is
 * not what was sent.
 */
int client_io(struct vdpa_client *c, int timeout_ms);
/*
 * Ask for the same where the device must not reach what it takes. -EBADMSG: it
 * changed something in the page; -ENODATA: its parent counts what is refused,
 * and there was nothing.
 */
int client_no_io(struct vdpa_client *c);
/* How long to watch a device that must not react: by the slowest I/O so far */
unsigned int client_window(const struct vdpa_client *c);
/* Has the device been refused something since client_start(), if that is known? */
bool client_refused(struct vdpa_client *c);
/* Fill the rings and do not wait */
int client_burst(struct vdpa_client *c);
/*
 * A process that opens the device, maps, starts and works until it is killed.
 * Returns its number once it works.
 */
pid_t client_fork(const struct vdpa_dev *dev, unsigned int asid);
/* A part of a request, which follows the one before it */
struct client_part {
	uint64_t iova;
	uint32_t len;
	bool in;		/* the device writes it */
};

/* Where the device finds what is at @addr in the page */
uint64_t client_iova(const struct vdpa_client *c, const void *addr);
/* Make a request available that takes descriptors from @first on */
void client_post(struct vdpa_client *c, unsigned int ring, unsigned int first,
		 const struct client_part *parts, unsigned int n);
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
