// SPDX-License-Identifier: GPL-2.0
/*
 * What the device reaches. It has rings in a page that is mapped once, when the input
 * begins, and works on them as long as the input lets it: to probe changes nothing of
 * what is mapped, and resets nothing but a device that has no rings, or other ones.
 *
 * A transfer that must be refused is followed by one that must succeed, on the same
 * rings, from and to buffers beside the others. So the device has seen the first one.
 * Where the rings or the buffers are not mapped for it, or it does not run, the probe
 * is that it does nothing.
 */
#include <assert.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fuzz.h"
#include "io.h"
#include "memory.h"
#include "run.h"
#include "util.h"

#define RX		0
#define TX		1
/* What a frame begins with: the header of virtio, and that of Ethernet */
#define HEAD		(sizeof(struct virtio_net_hdr_v1) + ETH_HLEN)
#define HALF		(CLIENT_BUF_SIZE / 2)
#define MAX_LEN		64U
/* Sleeps of 100 us until the device is given up. The clock of a guest whose host is busy
 * can jump by more than any time that is worth waiting.
 */
#define MAX_SLEEPS	50000
/* The frames, and halves of the buffers: the one that is probed, and its counterpart */
#define PROBED		0
#define COUNTERPART	1

static uint32_t number;		/* tells a frame from all others */
/* Where the device has its buffers; its rings are in client.page */
static struct client_page *buffers;

static void choose_pages(void)
{
	client.page = pages[model.ring[RX].ring_asid];
	buffers = pages[model.ring[RX].asid];
}

/* What the device has of memory */

/* Where the byte is kept, if the device may access it like that. *@known: is it? */
static uint8_t *byte_at(uint32_t asid, uint64_t iova, uint8_t perm, bool *may)
{
	const struct model_run *run = model_reach(&model, asid, iova);
	uint8_t *content;

	*may = run && run->perm & perm;
	if (!*may)
		return NULL;
	content = memory_content(run->pfn + (iova - run->iova) / PAGE);

	return content ? content + iova % PAGE : NULL;
}

static bool may_all(uint32_t asid, uint64_t iova, unsigned int len, uint8_t perm)
{
	unsigned int i;
	bool may;

	for (i = 0; i < len; i++) {
		byte_at(asid, iova + i, perm, &may);
		if (!may)
			return false;
	}

	return true;
}

static_assert(sizeof(struct client_page) == PAGE, "it is there or not");

/* Are the client's rings and buffers where they should be? */
static bool has_page(uint32_t asid)
{
	const struct model_run *run = model_reach(&model, asid, RING_IOVA);

	return run && run->perm == VHOST_ACCESS_RW;
}

/* Start */

static bool has_rings(void)
{
	unsigned int i;

	for (i = RX; i <= TX; i++)
		if (!model.ring[i].ready || model.ring[i].at != OURS || !model.ring[i].kick)
			return false;

	return model.status & VIRTIO_CONFIG_S_DRIVER_OK;
}

static int start_ring(unsigned int i, bool calls)
{
	uint64_t ring = RING_IOVA + offsetof(struct client_page, ring[i]);
	struct vhost_vring_state num = { .index = i, .num = CLIENT_RING_NUM };
	struct vhost_vring_state base = { .index = i };
	struct vhost_vring_state enable = { .index = i, .num = 1 };
	struct vhost_vring_file kick = { .index = i, .fd = client.kick[i] };
	struct vhost_vring_file call = { .index = i, .fd = client.call[i] };

	if (do_ioctl(VHOST_SET_VRING_NUM, &num) ||
	    do_ioctl(VHOST_SET_VRING_BASE, &base) ||
	    set_ring_addr(i, ring, ring + offsetof(struct client_page, ring[0].avail),
			  ring + offsetof(struct client_page, ring[0].used), OURS) ||
	    do_ioctl(VHOST_SET_VRING_KICK, &kick) ||
	    (calls && do_ioctl(VHOST_SET_VRING_CALL, &call)) ||
	    do_ioctl(VHOST_VDPA_SET_VRING_ENABLE, &enable))
		return -1;
	model_ring_size(&model, i, true);
	model_ring_base(&model, i, 0);
	model.ring[i].kick = true;
	if (calls) {
		model.ring[i].call = true;
		model.ring[i].calls = true;
	}
	model_ring_ready(&model, i, true);

	return 0;
}

static bool is_bound(uint32_t asid, uint32_t ring_asid)
{
	return model.ring[RX].asid == asid && model.ring[RX].ring_asid == ring_asid;
}

/* The device, from a state in which it has no rings. False: the input has it fail */
static bool start(uint32_t asid, unsigned int flags)
{
	uint32_t ring_asid = asid;
	unsigned int i;

	if (set_status(1) || set_status(3) || set_features(FEATURES) || set_status(0xb))
		return false;
	if (flags & PROBE_BIND && set_group(0, asid))
		return false;
	if (flags & PROBE_BIND && model.acked & F_DESC_ASID) {
		ring_asid ^= !!(flags & PROBE_APART);
		if (set_group(2, ring_asid))
			return false;
	}
	choose_pages();
	memset(client.page->ring, 0, sizeof(client.page->ring));
	for (i = RX; i <= TX; i++)
		if (start_ring(i, flags & PROBE_CALLS))
			wrong("ring %u cannot be set up: %s", i, strerror(errno));

	return !set_status(0xf);
}

static bool is_fresh(void)
{
	unsigned int i;

	for (i = 0; i < MODEL_RINGS; i++)
		if (model.ring[i].ready)
			return false;

	return !model.status;
}

static bool have_started(uint32_t asid, unsigned int flags)
{
	uint32_t ring_asid = asid;

	if (flags & PROBE_APART && model.acked & F_DESC_ASID)
		ring_asid ^= 1;
	if (has_rings() && (!(flags & PROBE_BIND) || is_bound(asid, ring_asid)))
		return true;
	if (!is_fresh() && set_status(0))
		return false;
	check_memory();

	return start(asid, flags);
}

/* Transfers */

static uint64_t half(const uint8_t *buffer, unsigned int which)
{
	return RING_IOVA + (buffer - (uint8_t *)buffers) + which * HALF;
}

/* A frame to all, which the device gives back; its data behind the header, or elsewhere */
static void post_frame(unsigned int which, const uint64_t *iova, unsigned int len)
{
	struct client_part parts[] = {
		{ half(buffers->out, which), HEAD + (iova ? 0 : len), false },
		{ iova ? *iova : 0, len, false },
	};
	uint8_t *head = buffers->out + which * HALF, *eth = head + HEAD - ETH_HLEN;

	memset(head, 0, HEAD);
	memset(eth, 0xff, ETH_ALEN);
	number++;
	memcpy(eth + ETH_ALEN, &number, sizeof(number));
	client_post(&client, TX, 4 * which, parts, iova ? 2 : 1);
}

static void post_buffer(unsigned int which, const uint64_t *iova, unsigned int len)
{
	struct client_part parts[] = {
		{ half(buffers->in, which), iova ? HEAD : HALF, true },
		{ iova ? *iova : 0, len, true },
	};

	memset(buffers->in + which * HALF, 0, HALF);
	client_post(&client, RX, 4 * which, parts, iova ? 2 : 1);
}

static uint16_t posted(unsigned int ring)
{
	return client.page->ring[ring].avail.idx;
}

static uint16_t used(unsigned int ring)
{
	return __atomic_load_n(&client.page->ring[ring].used.idx, __ATOMIC_ACQUIRE);
}

/* Behind what the device does at the moment: both take its lock */
static void fence(void)
{
	uint8_t now = 0;

	if (ioctl(client.fd, VHOST_VDPA_GET_STATUS, &now))
		wrong("no status");
	if (now != model.status)
		wrong("status is %#x, expected %#x", now, model.status);
}

/* Until it has used all that was posted */
static void await(const char *what, unsigned int ring, uint64_t iova)
{
	unsigned int i;

	for (i = 0; used(ring) != posted(ring); i++) {
		if (i > MAX_SLEEPS)
			wrong("%s at %#llx: the device has used %u of %u of ring %u",
			      what, (unsigned long long)iova, used(ring), posted(ring), ring);
		if (i < 4)
			sched_yield();
		else
			usleep(100);
	}
}

static void kick(void)
{
	eventfd_t n;
	unsigned int i;

	for (i = RX; i <= TX; i++)
		eventfd_read(client.call[i], &n);
	eventfd_write(client.kick[TX], 1);
}

/* What it has taken is not to be taken once more after a suspend */
static void count_taken(void)
{
	unsigned int i;

	for (i = RX; i <= TX; i++)
		model.ring[i].base = posted(i);
}

/* The device has used something of TX, and of the ring @first on */
static void check_calls(unsigned int first)
{
	unsigned int i;
	bool called;
	eventfd_t n;

	for (i = first; i <= TX; i++) {
		called = !eventfd_read(client.call[i], &n);
		if (called != (model.ring[i].call && model.ring[i].calls))
			wrong("ring %u: the client is %scalled", i, called ? "" : "not ");
	}
}

static uint32_t used_length(unsigned int ring, uint16_t back)
{
	uint16_t at = used(ring) - 1 - back;

	return client.page->ring[ring].used.ring[at % CLIENT_RING_NUM].len;
}

/* Has the frame been received in this half of the buffers? */
static bool is_received(unsigned int frame, unsigned int buffer)
{
	return !memcmp(buffers->out + frame * HALF + HEAD - ETH_HLEN,
		       buffers->in + buffer * HALF + HEAD - ETH_HLEN, ETH_HLEN);
}

static void transfer(const char *what, uint64_t iova)
{
	/* Without buffers, nothing comes of RX */
	unsigned int first = used(RX) == posted(RX) ? TX : RX;

	cover_outcome(what, 0);
	kick();
	await(what, TX, iova);
	await(what, RX, iova);
	counts->operations++;
	fence();
	count_taken();
	check_calls(first);
}

static void probe_read(uint32_t asid, uint64_t iova, unsigned int len)
{
	bool may = may_all(asid, iova, len, VHOST_ACCESS_RO), is_there;
	uint8_t *got = buffers->in + HEAD, *want;
	unsigned int i;

	say("%s be read: %u bytes at %#llx of asid %u\n", may ? "must" : "must not", len,
	    (unsigned long long)iova, asid);
	post_buffer(PROBED, NULL, 0);
	post_frame(PROBED, &iova, len);
	if (!may)
		post_frame(COUNTERPART, NULL, len);
	transfer(may ? "read" : "must-not-be-read", iova);
	if (!may && is_received(PROBED, PROBED))
		wrong("the device reads what is not mapped at %#llx", (unsigned long long)iova);
	if (!is_received(may ? PROBED : COUNTERPART, PROBED))
		wrong("another frame is received after one from %#llx", (unsigned long long)iova);
	for (i = 0; may && i < len; i++) {
		want = byte_at(asid, iova + i, VHOST_ACCESS_RO, &is_there);
		if (want && *want != got[i])
			wrong("the device reads another page at %#llx: %#x, expected %#x",
			      (unsigned long long)iova + i, got[i], *want);
	}
}

/* What was written is there from now on */
static void write_bytes(uint32_t asid, uint64_t iova, unsigned int len, const uint8_t *data)
{
	unsigned int i;
	uint8_t *to;
	bool may;

	for (i = 0; i < len; i++) {
		to = byte_at(asid, iova + i, VHOST_ACCESS_WO, &may);
		if (to)
			*to = data[i];
	}
}

static void probe_write(uint32_t asid, uint64_t iova, unsigned int len)
{
	bool may = may_all(asid, iova, len, VHOST_ACCESS_WO);
	uint8_t *data = buffers->out + HEAD;
	uint32_t length;
	unsigned int i;

	say("%s be written: %u bytes at %#llx of asid %u\n", may ? "must" : "must not", len,
	    (unsigned long long)iova, asid);
	for (i = 0; i < len; i++)
		data[i] = number + i * 3 + 1;
	post_buffer(PROBED, &iova, len);
	post_frame(PROBED, NULL, len);
	if (!may) {
		post_buffer(COUNTERPART, NULL, 0);
		post_frame(COUNTERPART, NULL, len);
	}
	transfer(may ? "write" : "must-not-be-written", iova);
	length = used_length(RX, !may);
	if (length != (may ? HEAD + len : 0))
		wrong("the device says that it has written %u bytes at %#llx", length,
		      (unsigned long long)iova);
	if (!is_received(may ? PROBED : COUNTERPART, may ? PROBED : COUNTERPART))
		wrong("another frame is received after one to %#llx", (unsigned long long)iova);
	if (may)
		write_bytes(asid, iova, len, data);
	check_memory();
}

/* Rings without buffers: frames are taken, and none comes out */
static void probe_without_buffers(void)
{
	say("must not be read: the client's page\n");
	post_frame(PROBED, NULL, MAX_LEN);
	transfer("a frame that cannot be read", RING_IOVA);
}

/* Nothing may happen, in the time in which everything else does */
static void probe_nothing(const char *why)
{
	struct client_page *page = client.page;
	uint16_t before[] = { used(RX), used(TX) };
	unsigned int i;

	say("%s: must do nothing\n", why);
	cover_outcome(why, 0);
	counts->idle++;
	post_buffer(PROBED, NULL, 0);
	post_frame(PROBED, NULL, MAX_LEN);
	kick();
	usleep(2000);
	counts->operations++;
	fence();
	for (i = RX; i <= TX; i++) {
		if (used(i) != before[i])
			wrong("%s, and the device works", why);
		page->ring[i].avail.idx--;
	}
	if (is_received(PROBED, PROBED))
		wrong("%s, and a frame is received", why);
}

void probe_gone(void)
{
	uint16_t before[MODEL_SPACES][2];
	unsigned int i, ring;

	say("closed: must do nothing\n");
	for (i = 0; i < MODEL_SPACES; i++) {
		client.page = buffers = pages[i];
		before[i][RX] = used(RX);
		before[i][TX] = used(TX);
		post_buffer(PROBED, NULL, 0);
		post_frame(PROBED, NULL, MAX_LEN);
	}
	kick();
	usleep(2000);
	counts->operations++;
	for (i = 0; i < MODEL_SPACES; i++) {
		client.page = buffers = pages[i];
		for (ring = RX; ring <= TX; ring++)
			if (used(ring) != before[i][ring])
				wrong("it is closed, and the device works");
		if (is_received(PROBED, PROBED))
			wrong("it is closed, and a frame is received");
	}
}

static void probe_once(uint32_t asid, uint64_t iova, unsigned int len)
{
	if (!model.running)
		probe_nothing("suspended");
	else if (!has_page(model.ring[RX].ring_asid))
		probe_nothing("without rings");
	else if (!has_page(asid))
		probe_without_buffers();
	else {
		probe_read(asid, iova, len);
		probe_write(asid, iova, len);
		probe_read(asid, iova, len);
	}
}

void probe(uint32_t asid, uint64_t iova, unsigned int len, unsigned int flags)
{
	if (!model.open || !model.owned || !have_started(asid, flags))
		return;
	choose_pages();
	counts->probes++;
	probe_once(model.ring[RX].asid, iova, len);
}
