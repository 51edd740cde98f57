/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What vhost-vdpa has to do, told in another way than the driver does it: for each
 * address space, what the client has mapped, what the parent was told of it, and
 * what the device reaches. From that follow the result of each operation, and how
 * many pages are charged and pinned. And what is set of the virtio device: where
 * the rings are, in which address spaces, and whether it works on them.
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
	bool may_exist;		/* one that failed for want of memory has */
	bool unsure;		/* the parent may have less than it was told ... */
	bool may_be_unsure;	/* ... or the driver knows that it has not */
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

/* Whose rings: those of fuzz's own page, or what the input made up */
enum model_place { NOWHERE, OURS, WILD };

struct model_ring {
	enum model_place set;	/* as the parent was told ... */
	enum model_place at;	/* ... and as it was when the ring was enabled */
	bool eight;		/* as many descriptors as ours have */
	bool ready;
	bool kick;		/* the client's eventfds are bound; ... */
	bool call;
	bool calls;		/* ... and the parent knows whom to call */
	uint16_t base;
	bool base_is_known;
	uint32_t asid;		/* of the buffers */
	uint32_t ring_asid;
};

/* Operations of the parent that can be made to fail */
enum model_call {
	CALL_SET_MAP,
	CALL_LOSE_MAP,		/* .set_map: it fails, and leaves nothing mapped */
	CALL_DMA_MAP,
	CALL_DMA_UNMAP,
	CALL_RESET_MAP,
	CALL_RESET,
	CALL_DESC_GROUP,
	CALLS,
};

struct model {
	const struct model_memory *memory;
	bool set_map;		/* how the parent is told, rather than .dma_map */
	uint64_t offered;	/* backend features */
	unsigned int groups;
	bool rings_stay;	/* the rings of a device that runs cannot be moved */
	bool never_told_again;	/* a reset does not tell the parent what it may lack */
	uint64_t limit;		/* RLIMIT_MEMLOCK, in pages */
	uint64_t others;	/* pages that are charged for other devices */

	/* The nth call of this one from here on fails; 0: none does */
	enum model_call failing;
	unsigned int nth;

	bool open;
	bool owned;
	uint64_t acked;		/* of what is offered */
	uint8_t status;
	bool running;		/* it works on rings ... */
	bool ctrl;		/* ... and on that of commands, too */
	bool suspended;
	bool in_batch;
	uint32_t batch_asid;
	struct model_space space[MODEL_SPACES];
	struct model_ring ring[MODEL_RINGS];
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
};

/* Each returns the result that is expected, 0 or -errno, and takes effect */
int model_open(struct model *m);
void model_close(struct model *m);
/* Another bus driver has had the device: nothing is left with it */
void model_passed_on(struct model *m);
int model_own(struct model *m);
int model_ack(struct model *m, uint64_t features);
int model_status(struct model *m, uint8_t status);
int model_features(struct model *m, uint64_t features);
int model_suspend(struct model *m);
int model_resume(struct model *m);
/* Bind a group to an address space */
int model_group(struct model *m, uint32_t group, uint32_t asid);
/* The group of a ring's buffers, or of the ring itself */
int model_group_of(struct model *m, uint32_t ring, bool desc, uint32_t *group);
/* May a ring be put elsewhere, at present? */
int model_ring_moves(const struct model *m);
/* A ring is given its place, its size, is enabled */
void model_ring_place(struct model *m, uint32_t ring, enum model_place place);
void model_ring_size(struct model *m, uint32_t ring, bool eight);
void model_ring_base(struct model *m, uint32_t ring, uint16_t base);
void model_ring_ready(struct model *m, uint32_t ring, bool ready);

/* After the message has been written, when pages have been faulted in */
int model_message(struct model *m, const struct model_msg *msg);
/* The address space that it is about */
uint32_t model_msg_asid(const struct model *m, const struct model_msg *msg);
/* What is left of it when the kernel had no memory for it. @m is as it was before */
void model_message_fails(struct model *m, const struct model_msg *msg);

uint64_t model_charged(const struct model *m);
uint64_t model_pinned(const struct model *m);
/* Is there a pin of this page? */
bool model_pins(const struct model *m, uint64_t pfn);
/* What the device reaches at this address; NULL: nothing */
const struct model_run *model_reach(const struct model *m, uint32_t asid,
				    uint64_t iova);
/* Does the device work on a ring of which nobody knows what it says? On this one? */
bool model_is_wild(const struct model *m);
bool model_ring_is_wild(const struct model *m, uint32_t ring);
/* As it is now, to be had back */
void model_copy(struct model *to, const struct model *from);

#endif
