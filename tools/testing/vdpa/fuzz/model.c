// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <linux/vhost.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "model.h"

#define PAGE		4096ULL
#define PAGE_OF(_addr)	((_addr) & ~(PAGE - 1))
#define OFFSET(_addr)	((_addr) & (PAGE - 1))

/* Runs */

static uint64_t run_last(const struct model_run *run)
{
	return run->iova + run->pages * PAGE - 1;
}

static void runs_add(struct model_runs *runs, const struct model_run *run)
{
	if (runs->n == runs->room) {
		runs->room = 2 * runs->room + 64;
		runs->run = realloc(runs->run, runs->room * sizeof(*run));
		if (!runs->run)
			abort();
	}
	runs->run[runs->n++] = *run;
}

static void runs_copy(struct model_runs *to, const struct model_runs *from)
{
	size_t i;

	to->n = 0;
	for (i = 0; i < from->n; i++)
		runs_add(to, &from->run[i]);
}

static bool runs_overlap(const struct model_runs *runs, uint64_t first, uint64_t last)
{
	size_t i;

	for (i = 0; i < runs->n; i++)
		if (runs->run[i].iova <= last && run_last(&runs->run[i]) >= first)
			return true;

	return false;
}

/* Take out what overlaps, as whole runs; what was told and is to be kept goes to @told */
static void runs_remove(struct model_runs *runs, uint64_t first, uint64_t last,
			struct model_runs *told)
{
	struct model_run *run;
	size_t i, n = 0;

	for (i = 0; i < runs->n; i++) {
		run = &runs->run[i];
		if (run->iova > last || run_last(run) < first)
			runs->run[n++] = *run;
		else if (told && run->told)
			runs_add(told, run);
	}
	runs->n = n;
}

/* The one of the lowest addresses of those that overlap; the number of all: none */
static size_t runs_lowest(const struct model_runs *runs, uint64_t first, uint64_t last)
{
	size_t i, lowest = runs->n;

	for (i = 0; i < runs->n; i++)
		if (runs->run[i].iova <= last && run_last(&runs->run[i]) >= first &&
		    (lowest == runs->n || runs->run[i].iova < runs->run[lowest].iova))
			lowest = i;

	return lowest;
}

static bool runs_have(const struct model_runs *runs, uint64_t pfn)
{
	size_t i;

	for (i = 0; i < runs->n; i++)
		if (pfn - runs->run[i].pfn < runs->run[i].pages)
			return true;

	return false;
}

static uint64_t runs_pages(const struct model_runs *runs, bool told)
{
	uint64_t pages = 0;
	size_t i;

	for (i = 0; i < runs->n; i++)
		if (runs->run[i].told == told)
			pages += runs->run[i].pages;

	return pages;
}

static uint64_t runs_pinned(const struct model_runs *runs, uint64_t zero_pfn)
{
	uint64_t pages = 0;
	size_t i;

	for (i = 0; i < runs->n; i++)
		if (runs->run[i].pfn != zero_pfn)
			pages += runs->run[i].pages;

	return pages;
}

/* What is charged: of a batch the larger of what it adds and what it removes */

static uint64_t space_charged(const struct model_space *space, uint64_t more)
{
	uint64_t added = runs_pages(&space->mapped, false) + more;
	uint64_t removed = runs_pages(&space->gone, true);

	return runs_pages(&space->mapped, true) + (added > removed ? added : removed);
}

uint64_t model_charged(const struct model *m)
{
	return space_charged(&m->space[0], 0) + space_charged(&m->space[1], 0);
}

uint64_t model_pinned(const struct model *m)
{
	uint64_t pages = 0;
	int i;

	for (i = 0; i < MODEL_SPACES; i++)
		pages += runs_pinned(&m->space[i].mapped, m->memory->zero_pfn) +
			 runs_pinned(&m->space[i].gone, m->memory->zero_pfn);

	return pages;
}

bool model_pins(const struct model *m, uint64_t pfn)
{
	int i;

	for (i = 0; i < MODEL_SPACES; i++)
		if (runs_have(&m->space[i].mapped, pfn) || runs_have(&m->space[i].gone, pfn))
			return true;

	return false;
}

static bool model_can_charge(const struct model *m, const struct model_space *space,
			     uint64_t pages)
{
	uint64_t more = space_charged(space, pages) - space_charged(space, 0);

	return !more || (more <= m->limit && m->others + model_charged(m) <= m->limit - more);
}

/* Is this the call that was made to fail? */
static bool fails(struct model *m, enum model_call call)
{
	return m->nth && m->failing == call && !--m->nth;
}

/* What the parent is told: with .set_map all that is mapped, at the end of a batch */

static int space_roll_back(struct model_space *space, int error)
{
	size_t i, n = 0;

	space->unsure = true;
	space->may_be_unsure = false;
	for (i = 0; i < space->mapped.n; i++)
		if (space->mapped.run[i].told)
			space->mapped.run[n++] = space->mapped.run[i];
	space->mapped.n = n;
	for (i = 0; i < space->gone.n; i++)
		runs_add(&space->mapped, &space->gone.run[i]);
	space->gone.n = 0;

	return error;
}

static int space_set_map(struct model *m, struct model_space *space)
{
	size_t i;

	if (fails(m, CALL_SET_MAP))
		return space_roll_back(space, -EIO);
	if (fails(m, CALL_LOSE_MAP)) {
		space->device.n = 0;
		return space_roll_back(space, -EIO);
	}

	space->unsure = false;
	space->may_be_unsure = false;
	for (i = 0; i < space->mapped.n; i++)
		space->mapped.run[i].told = true;
	space->gone.n = 0;
	runs_copy(&space->device, &space->mapped);

	return 0;
}

static int model_commit(struct model *m, struct model_space *space)
{
	return m->set_map && !m->in_batch ? space_set_map(m, space) : 0;
}

/* With .dma_unmap: one after the other, from the lowest address on */
static int space_unmap(struct model *m, struct model_space *space, uint64_t first,
		       uint64_t last)
{
	struct model_run run;
	size_t i;

	while (m->nth && m->failing == CALL_DMA_UNMAP) {
		i = runs_lowest(&space->mapped, first, last);
		if (i == space->mapped.n)
			return 0;
		if (fails(m, CALL_DMA_UNMAP))
			return -EIO;
		run = space->mapped.run[i];
		runs_remove(&space->mapped, run.iova, run_last(&run), NULL);
		/* After a reset for an old client, the device may have less */
		runs_remove(&space->device, run.iova, run_last(&run), NULL);
	}
	runs_remove(&space->mapped, first, last, NULL);
	runs_remove(&space->device, first, last, NULL);

	return 0;
}

/* Messages */

/* The runs of an update, as far as its pages can be pinned; how many pages can't */
static uint64_t update_runs(const struct model *m, const struct model_msg *msg,
			    uint64_t pages, struct model_runs *runs)
{
	struct model_run run = { .perm = msg->perm, .told = !m->set_map };
	uint64_t addr = PAGE_OF(msg->addr), iova = PAGE_OF(msg->iova);
	struct model_run *prev = NULL;

	for (; pages; pages--, addr += PAGE, iova += PAGE) {
		if (!m->memory->can_pin(addr, msg->perm & VHOST_ACCESS_WO))
			break;
		run.iova = iova;
		run.pages = 1;
		run.pfn = m->memory->pfn(addr);
		if (prev && prev->pfn + prev->pages == run.pfn) {
			prev->pages++;
			continue;
		}
		runs_add(runs, &run);
		prev = &runs->run[runs->n - 1];
	}

	return pages;
}

/* A run is mapped when it is known where it ends */
static int map_runs(struct model *m, struct model_space *space,
		    const struct model_runs *runs, uint64_t missing)
{
	size_t i;

	for (i = 0; i < runs->n; i++) {
		if (i == runs->n - 1 && missing)
			break;
		if (!m->set_map && fails(m, CALL_DMA_MAP))
			return -EIO;
		runs_add(&space->mapped, &runs->run[i]);
		if (!m->set_map)
			runs_add(&space->device, &runs->run[i]);
	}

	return missing ? -EFAULT : 0;
}

static int update_pages(struct model *m, struct model_space *space,
			const struct model_msg *msg, uint64_t pages)
{
	static struct model_runs runs;
	uint64_t last = msg->iova + msg->size - 1;
	uint64_t missing;
	int r;

	runs.n = 0;
	missing = update_runs(m, msg, pages, &runs);
	r = map_runs(m, space, &runs, missing);
	if (!r)
		return model_commit(m, space);
	/* What cannot be taken back from the device stays */
	if (m->set_map)
		runs_remove(&space->mapped, msg->iova, last, NULL);
	else
		space_unmap(m, space, msg->iova, last);

	return r;
}

static int model_update(struct model *m, struct model_space *space,
			const struct model_msg *msg)
{
	uint64_t last = msg->iova + msg->size - 1, bytes, rounded;

	if (last < msg->iova || OFFSET(msg->iova) != OFFSET(msg->addr))
		return -EINVAL;
	if (!msg->perm || msg->perm > VHOST_ACCESS_RW)
		return -EINVAL;
	if (runs_overlap(&space->mapped, msg->iova, last))
		return -EEXIST;
	if (__builtin_add_overflow(msg->size, OFFSET(msg->iova), &bytes) ||
	    __builtin_add_overflow(bytes, PAGE - 1, &rounded))
		return -EINVAL;
	if (!model_can_charge(m, space, rounded / PAGE))
		return -ENOMEM;

	return update_pages(m, space, msg, rounded / PAGE);
}

static int model_invalidate(struct model *m, struct model_space *space,
			    const struct model_msg *msg)
{
	uint64_t last = msg->iova + msg->size - 1;

	/* 0 bytes at 0 are all */
	if (last < msg->iova)
		return -EINVAL;
	if (!m->set_map)
		return space_unmap(m, space, msg->iova, last);
	runs_remove(&space->mapped, msg->iova, last, &space->gone);

	return model_commit(m, space);
}

static int model_batch_end(struct model *m, struct model_space *space)
{
	if (!m->in_batch)
		return 0;
	m->in_batch = false;

	return model_commit(m, space);
}

static int model_dispatch(struct model *m, uint32_t asid, const struct model_msg *msg)
{
	struct model_space *space = asid < MODEL_SPACES ? &m->space[asid] : NULL;

	if (space && (msg->type == VHOST_IOTLB_UPDATE || msg->type == VHOST_IOTLB_BATCH_BEGIN))
		space->exists = true;
	if (!space || !space->exists || (m->in_batch && m->batch_asid != asid))
		return -EINVAL;

	switch (msg->type) {
	case VHOST_IOTLB_UPDATE:
		return model_update(m, space, msg);
	case VHOST_IOTLB_INVALIDATE:
		return model_invalidate(m, space, msg);
	case VHOST_IOTLB_BATCH_BEGIN:
		m->in_batch = true;
		m->batch_asid = asid;
		return 0;
	case VHOST_IOTLB_BATCH_END:
		return model_batch_end(m, space);
	default:
		return -EINVAL;
	}
}

uint32_t model_msg_asid(const struct model *m, const struct model_msg *msg)
{
	bool has_asid = m->acked & BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID);

	return msg->version == 2 && has_asid ? msg->asid : 0;
}

int model_message(struct model *m, const struct model_msg *msg)
{
	const size_t least = offsetof(struct vhost_msg_v2, iotlb) +
			     sizeof(struct vhost_iotlb_msg);

	if (msg->len < least || (msg->version != 1 && msg->version != 2))
		return -EINVAL;
	if (msg->type == VHOST_IOTLB_UPDATE && !msg->size)
		return -EINVAL;
	if (!m->owned || msg->stranger)
		return -EPERM;

	return model_dispatch(m, model_msg_asid(m, msg), msg);
}

void model_message_fails(struct model *m, const struct model_msg *msg)
{
	uint32_t asid = model_msg_asid(m, msg);
	struct model_space *space;

	if (asid >= MODEL_SPACES)
		return;
	space = &m->space[asid];
	if (!space->exists)
		space->may_exist = true;
	if (msg->type == VHOST_IOTLB_BATCH_END && m->in_batch) {
		m->in_batch = false;
		space_roll_back(space, 0);
	}
	/* If it was .set_map that failed. To be told once more does not harm */
	if (m->set_map && space->exists && !space->unsure)
		space->may_be_unsure = true;
}

/* The life of the file, and of the device */

static void model_reset_rings(struct model *m)
{
	struct model_ring *ring;

	m->ctrl = false;
	m->suspended = false;
	for (ring = m->ring; ring < m->ring + MODEL_RINGS; ring++) {
		ring->set = NOWHERE;
		ring->at = NOWHERE;
		ring->ready = false;
		ring->calls = false;
		ring->base = 0;
		ring->base_is_known = true;
		ring->asid = 0;
		ring->ring_asid = 0;
	}
}

static void model_free_spaces(struct model *m)
{
	struct model_space *space;

	for (space = m->space; space < m->space + MODEL_SPACES; space++) {
		space->exists = false;
		space->may_exist = false;
		space->unsure = false;
		space->may_be_unsure = false;
		space->mapped.n = 0;
		space->gone.n = 0;
		space->device.n = 0;
	}
}

/* Have the device reach nothing: a call, or two for both halves of the addresses */
static bool clearing_fails(struct model *m)
{
	if (m->set_map)
		return fails(m, CALL_SET_MAP) || fails(m, CALL_LOSE_MAP);

	return fails(m, CALL_DMA_UNMAP) || fails(m, CALL_DMA_UNMAP);
}

int model_open(struct model *m)
{
	int i;

	if (m->open)
		return -EBUSY;
	/* What a close could not let go of stays for the next one */
	if (fails(m, CALL_RESET))
		return -EIO;
	m->status = 0;
	m->running = false;
	model_reset_rings(m);
	for (i = 0; i < MODEL_SPACES; i++)
		if (clearing_fails(m)) {
			model_free_spaces(m);
			return -EIO;
		}
	model_free_spaces(m);
	m->open = true;

	return 0;
}

static void model_leave(struct model *m)
{
	int i;

	m->open = false;
	m->owned = false;
	m->acked = 0;
	m->in_batch = false;
	for (i = 0; i < MODEL_SPACES; i++)
		m->space[i].device.n = 0;
	for (i = 0; i < MODEL_RINGS; i++) {
		m->ring[i].kick = false;
		m->ring[i].call = false;
		m->ring[i].calls = false;
	}
}

void model_close(struct model *m)
{
	int i;

	model_leave(m);
	/* What a device that does not stop has reached stays pinned */
	if (fails(m, CALL_RESET))
		return;
	m->status = 0;
	m->running = false;
	model_reset_rings(m);
	for (i = 0; i < MODEL_SPACES; i++)
		/* It has nothing instead of its default then */
		fails(m, CALL_RESET_MAP);
	model_free_spaces(m);
}

void model_passed_on(struct model *m)
{
	m->status = 0;
	m->running = false;
	model_reset_rings(m);
	model_free_spaces(m);
}

int model_own(struct model *m)
{
	if (m->owned)
		return -EBUSY;
	m->owned = true;

	return 0;
}

int model_ack(struct model *m, uint64_t features)
{
	if (features & ~m->offered & ~F_DESC_ASID)
		return -EOPNOTSUPP;
	if (features & F_DESC_ASID && !(features & BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID)))
		return -EINVAL;
	if (features & ~m->offered)
		return -EOPNOTSUPP;
	m->acked = features;

	return 0;
}

/* An old client's device has nothing after a reset, until it is told again */
static int model_reset(struct model *m)
{
	bool persist = m->acked & F_PERSIST, works = !fails(m, CALL_RESET);
	struct model_space *space;
	uint32_t i;
	int r;

	for (i = 0; i < MODEL_SPACES && !persist; i++) {
		space = &m->space[i];
		if (works)
			space->device.n = 0;
		space->unsure = space->exists && m->set_map;
	}
	if (!works)
		return -EIO;
	m->status = 0;
	m->running = false;
	model_reset_rings(m);
	for (i = 0; i < MODEL_SPACES && persist && !m->never_told_again; i++) {
		space = &m->space[i];
		if (!(space->unsure || space->may_be_unsure) ||
		    (m->in_batch && m->batch_asid == i))
			continue;
		r = space_set_map(m, space);
		if (r)
			return r;
	}

	return 0;
}

int model_status(struct model *m, uint8_t status)
{
	if (status && m->status & ~status)
		return -EINVAL;
	if (!status)
		return model_reset(m);
	m->status = status;
	m->running = status & VIRTIO_CONFIG_S_DRIVER_OK;

	return 0;
}

int model_features(struct model *m, uint64_t features)
{
	if (m->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return -EBUSY;

	if (!(features & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM)))
		return -EINVAL;
	m->ctrl = features & BIT_ULL(VIRTIO_NET_F_CTRL_VQ);

	return 0;
}

int model_suspend(struct model *m)
{
	m->running = false;
	m->suspended = m->status & VIRTIO_CONFIG_S_DRIVER_OK;

	return 0;
}

int model_resume(struct model *m)
{
	m->running = m->status & VIRTIO_CONFIG_S_DRIVER_OK;
	m->suspended = false;

	return 0;
}

/* Rings */

/* The data rings are in group 0, the control ring in 1, and with a third one ... */
static uint32_t buffer_group(uint32_t ring)
{
	return ring == 2 ? 1 : 0;
}

/* ... the data rings themselves in that */
static uint32_t desc_group(const struct model *m, uint32_t ring)
{
	return ring < 2 && m->groups > 2 ? 2 : buffer_group(ring);
}

static void bind_group(struct model *m, uint32_t group, uint32_t asid)
{
	uint32_t i;

	for (i = 0; i < MODEL_RINGS; i++) {
		if (buffer_group(i) == group)
			m->ring[i].asid = asid;
		if (desc_group(m, i) == group)
			m->ring[i].ring_asid = asid;
	}
}

int model_group_of(struct model *m, uint32_t ring, bool desc, uint32_t *group)
{
	if (desc && fails(m, CALL_DESC_GROUP))
		return -EIO;
	*group = desc ? desc_group(m, ring) : buffer_group(ring);

	return 0;
}

/* Rings follow the buffers of a client that does not know that they can be elsewhere */
static int bind_desc_groups(struct model *m, uint32_t group, uint32_t asid)
{
	uint32_t i, desc;
	bool bad;

	for (i = 0; i < MODEL_RINGS; i++) {
		bad = fails(m, CALL_DESC_GROUP);
		desc = bad ? m->groups : desc_group(m, i);
		if (buffer_group(i) != group || desc == group)
			continue;
		if (bad)
			return -EIO;
		bind_group(m, desc, asid);
	}

	return 0;
}

int model_group(struct model *m, uint32_t group, uint32_t asid)
{
	int r = 0;

	if (!m->owned)
		return -EPERM;
	if (group >= MODEL_RINGS)
		return -ENOBUFS;
	if (group >= m->groups || asid >= MODEL_SPACES)
		return -EINVAL;
	if (m->status & VIRTIO_CONFIG_S_DRIVER_OK)
		return -EBUSY;
	if (!(m->acked & F_DESC_ASID) && m->offered & F_DESC_ASID)
		r = bind_desc_groups(m, group, asid);
	if (!r)
		bind_group(m, group, asid);

	return r;
}

int model_ring_moves(const struct model *m)
{
	bool works = m->status & VIRTIO_CONFIG_S_DRIVER_OK && !m->suspended;

	return m->rings_stay && works ? -EINVAL : 0;
}

void model_ring_place(struct model *m, uint32_t ring, enum model_place place)
{
	m->ring[ring].set = place;
}

void model_ring_size(struct model *m, uint32_t ring, bool eight)
{
	m->ring[ring].eight = eight;
}

void model_ring_base(struct model *m, uint32_t ring, uint16_t base)
{
	m->ring[ring].base = base;
	m->ring[ring].base_is_known = true;
}

void model_ring_ready(struct model *m, uint32_t index, bool ready)
{
	struct model_ring *ring = &m->ring[index];

	if (ready && !ring->ready)
		ring->at = ring->set == OURS && ring->eight ? OURS : WILD;
	ring->ready = ready;
}

/* Frames go from one ring to the other: of one alone, nothing comes */
bool model_ring_is_wild(const struct model *m, uint32_t ring)
{
	bool works = ring == 2 ? m->ctrl && m->ring[2].ready :
				 m->ring[0].ready && m->ring[1].ready;

	return m->running && works && m->ring[ring].at == WILD;
}

bool model_is_wild(const struct model *m)
{
	uint32_t i;

	for (i = 0; i < MODEL_RINGS; i++)
		if (model_ring_is_wild(m, i))
			return true;

	return false;
}

const struct model_run *model_reach(const struct model *m, uint32_t asid, uint64_t iova)
{
	const struct model_runs *runs = &m->space[asid].device;
	size_t i;

	for (i = 0; i < runs->n; i++)
		if (iova >= runs->run[i].iova && iova <= run_last(&runs->run[i]))
			return &runs->run[i];

	return NULL;
}

void model_copy(struct model *to, const struct model *from)
{
	struct model_space space[MODEL_SPACES];
	int i;

	memcpy(space, to->space, sizeof(space));
	*to = *from;
	for (i = 0; i < MODEL_SPACES; i++) {
		to->space[i].mapped = space[i].mapped;
		to->space[i].gone = space[i].gone;
		to->space[i].device = space[i].device;
		runs_copy(&to->space[i].mapped, &from->space[i].mapped);
		runs_copy(&to->space[i].gone, &from->space[i].gone);
		runs_copy(&to->space[i].device, &from->space[i].device);
	}
}
