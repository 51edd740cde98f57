/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What vhost-vdpa has to do, told in another way than the driver does it: for each
 * address space, what the client has mapped, what the parent was told of it, and
 * what the device reaches. From that follow the result of each message, and how
 * many pages are charged and pinned.
 */
#ifndef FUZZ_MODEL_H
#define FUZZ_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_SPACES	2
#define MODEL_RINGS	3

/* Pages that follow each other in memory: what a parent is told at once */
struct model_run {
	uint64_t iova;
	uint64_t pages;
	uint64_t pfn;
	uint8_t perm;
	bool told;		/* the parent has it, of those that are mapped */
};

struct model_runs {
	struct model_run *run;
	size_t n, room;
};

struct model_space {
	bool exists;		/* a message has named it */
	bool unsure;		/* the parent may have less than it was told */
	struct model_runs mapped;
	struct model_runs gone;	/* told, and unmapped in a batch that goes on */
	struct model_runs device;
};

/* The memory of the client, as far as the model cannot know it */
struct model_memory {
	/* Can the page be pinned, to write to it? */
	bool (*can_pin)(uint64_t addr, bool write);
	/* Which one is it, now that it is */
	uint64_t (*pfn)(uint64_t addr);
	/* The zero page, which is charged and not pinned */
	uint64_t zero_pfn;
};

struct model {
	const struct model_memory *memory;
	bool set_map;		/* how the parent is told, rather than .dma_map */
	uint64_t offered;	/* backend features */
	unsigned int groups;
	uint64_t limit;		/* RLIMIT_MEMLOCK, in pages */

	bool open;
	bool owned;
	uint64_t acked;		/* of what is offered */
	uint8_t status;
	bool in_batch;
	uint32_t batch_asid;
	struct model_space space[MODEL_SPACES];
};

/* What an operation of the parent does instead of what it should */
enum model_fault {
	WORKS,
	FAILS,
	LOSES_ALL,		/* .set_map: it fails, and leaves nothing mapped */
};

struct model_msg {
	int version;		/* 1 or 2; others are unknown */
	size_t len;		/* bytes of it that are written */
	bool stranger;		/* written by a process that is not the owner */
	uint32_t asid;
	uint8_t type;
	uint8_t perm;
	uint64_t iova;
	uint64_t size;
	uint64_t addr;
	enum model_fault fault;	/* .set_map, .dma_map, or .dma_unmap of an invalidate */
};

/* Each returns the result that is expected, 0 or -errno, and takes effect */
int model_open(struct model *m);
void model_close(struct model *m);
int model_own(struct model *m);
int model_ack(struct model *m, uint64_t features);
int model_status(struct model *m, uint8_t status);
int model_features(struct model *m, uint64_t features);
int model_group(struct model *m, uint32_t group, uint32_t asid);

/* After the message has been written, when pages have been faulted in */
int model_message(struct model *m, const struct model_msg *msg);

uint64_t model_charged(const struct model *m);
uint64_t model_pinned(const struct model *m);
/* What the device reaches at this address; NULL: nothing */
const struct model_run *model_reach(const struct model *m, uint32_t asid,
				    uint64_t iova);

#endif
