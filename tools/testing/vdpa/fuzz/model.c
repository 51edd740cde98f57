// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <linux/vhost.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
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

static bool model_can_charge(const struct model *m, const struct model_space *space,
			     uint64_t pages)
{
	uint64_t more = space_charged(space, pages) - space_charged(space, 0);

	return !more || (more <= m->limit && model_charged(m) <= m->limit - more);
}

/* What the parent is told: with .set_map all that is mapped, at the end of a batch */

static int space_set_map(struct model_space *space, enum model_fault fault)
{
	size_t i, n = 0;

	space->unsure = fault;
	if (fault) {
		for (i = 0; i < space->mapped.n; i++)
			if (space->mapped.run[i].told)
				space->mapped.run[n++] = space->mapped.run[i];
		space->mapped.n = n;
		for (i = 0; i < space->gone.n; i++)
			runs_add(&space->mapped, &space->gone.run[i]);
		space->gone.n = 0;
		if (fault == LOSES_ALL)
			space->device.n = 0;
		return -EIO;
	}

	for (i = 0; i < space->mapped.n; i++)
		space->mapped.run[i].told = true;
	space->gone.n = 0;
	runs_copy(&space->device, &space->mapped);

	return 0;
}

static int model_commit(struct model *m, struct model_space *space,
			enum model_fault fault)
{
	return m->set_map && !m->in_batch ? space_set_map(space, fault) : 0;
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

static int update_pages(struct model *m, struct model_space *space,
			const struct model_msg *msg, uint64_t pages)
{
	static struct model_runs runs;
	bool fails = !m->set_map && msg->fault;
	size_t i;

	runs.n = 0;
	if (update_runs(m, msg, pages, &runs))
		/* A run is mapped when it is known where it ends */
		return fails && runs.n > 1 ? -EIO : -EFAULT;
	if (fails)
		return -EIO;
	for (i = 0; i < runs.n; i++) {
		runs_add(&space->mapped, &runs.run[i]);
		if (!m->set_map)
			runs_add(&space->device, &runs.run[i]);
	}

	return model_commit(m, space, msg->fault);
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
	if (!m->set_map) {
		if (msg->fault && runs_overlap(&space->mapped, msg->iova, last))
			return -EIO;
		/* After a reset for an old client, the device may have less */
		runs_remove(&space->mapped, msg->iova, last, NULL);
		runs_remove(&space->device, msg->iova, last, NULL);
		return 0;
	}
	runs_remove(&space->mapped, msg->iova, last, &space->gone);

	return model_commit(m, space, msg->fault);
}

static int model_batch_end(struct model *m, struct model_space *space,
			   const struct model_msg *msg)
{
	if (!m->in_batch)
		return 0;
	m->in_batch = false;

	return model_commit(m, space, msg->fault);
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
		return model_batch_end(m, space, msg);
	default:
		return -EINVAL;
	}
}

int model_message(struct model *m, const struct model_msg *msg)
{
	const size_t least = offsetof(struct vhost_msg_v2, iotlb) +
			     sizeof(struct vhost_iotlb_msg);
	bool has_asid = m->acked & BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID);

	if (msg->len < least || (msg->version != 1 && msg->version != 2))
		return -EINVAL;
	if (msg->type == VHOST_IOTLB_UPDATE && !msg->size)
		return -EINVAL;
	if (!m->owned || msg->stranger)
		return -EPERM;

	return model_dispatch(m, msg->version == 2 && has_asid ? msg->asid : 0, msg);
}

/* The life of the file, and of the device */

int model_open(struct model *m)
{
	if (m->open)
		return -EBUSY;
	m->open = true;

	return 0;
}

void model_close(struct model *m)
{
	int i;

	m->open = false;
	m->owned = false;
	m->acked = 0;
	m->status = 0;
	m->in_batch = false;
	for (i = 0; i < MODEL_SPACES; i++) {
		m->space[i].exists = false;
		m->space[i].unsure = false;
		m->space[i].mapped.n = 0;
		m->space[i].gone.n = 0;
		m->space[i].device.n = 0;
	}
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
	if (features & ~m->offered)
		return -EOPNOTSUPP;
	if (features & F_DESC_ASID && !(features & BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID)))
		return -EINVAL;
	m->acked = features;

	return 0;
}

/* An old client's device has nothing after a reset, until it is told again */
static void model_reset(struct model *m)
{
	bool persist = m->acked & F_PERSIST;
	struct model_space *space;
	uint32_t i;

	for (i = 0; i < MODEL_SPACES; i++) {
		space = &m->space[i];
		if (!persist) {
			space->device.n = 0;
			space->unsure = space->exists && m->set_map;
		} else if (space->unsure && !(m->in_batch && m->batch_asid == i)) {
			space_set_map(space, WORKS);
		}
	}
}

int model_status(struct model *m, uint8_t status)
{
	if (status && m->status & ~status)
		return -EINVAL;
	if (!status)
		model_reset(m);
	m->status = status;

	return 0;
}

int model_features(struct model *m, uint64_t features)
{
	if (m->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return -EBUSY;

	return features & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) ? 0 : -EINVAL;
}

int model_group(struct model *m, uint32_t group, uint32_t asid)
{
	if (!m->owned)
		return -EPERM;
	if (group >= MODEL_RINGS)
		return -ENOBUFS;
	if (group >= m->groups || asid >= MODEL_SPACES)
		return -EINVAL;

	return m->status & VIRTIO_CONFIG_S_DRIVER_OK ? -EBUSY : 0;
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
