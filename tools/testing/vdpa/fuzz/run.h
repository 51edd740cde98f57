/* SPDX-License-Identifier: GPL-2.0 */
/* The input that runs: the file, the model beside it, and how one is held to the other */
#ifndef FUZZ_RUN_H
#define FUZZ_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "model.h"

#define PAGE		4096ULL
#define RING_IOVA	BIT_ULL(44)	/* where no operation maps anything else */
#define FEATURES	(BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM))

extern struct vdpa_client client;
/* Rings and buffers, at RING_IOVA of each address space: another page in each */
extern struct client_page *pages[MODEL_SPACES];
extern struct model model;

/* What was done, by the processes of all clients */
struct counts {
	unsigned long operations;	/* whose results were compared */
	unsigned long faults;		/* that were ordered, ... */
	unsigned long came;		/* ... came, ... */
	unsigned long no_memory;	/* ... and had an operation fail with -ENOMEM */
	unsigned long probes;		/* of what the device reaches, ... */
	unsigned long idle;		/* ... in which it had to do nothing */
	unsigned long made_up;		/* requests of rings that an input made up, that were used */
};

extern struct counts *counts;

void __attribute__((format(printf, 1, 2))) say(const char *format, ...);
void __attribute__((noreturn, format(printf, 1, 2))) wrong(const char *format, ...);

/* What the kernel returned, and what the model says it has to */
void expect(const char *what, int expected, int returned);
/* A system call, with the fault that is due */
int do_ioctl(unsigned long cmd, void *arg);

/* Operations, which return what the kernel did */
int set_status(uint8_t value);
int set_features(uint64_t features);
int set_group(uint32_t group, uint32_t asid);
int set_ring_addr(unsigned int ring, uint64_t desc, uint64_t avail, uint64_t used,
		  enum model_place place);
/* What the device must not write to has not changed */
void check_memory(void);

/*
 * Have the device read and write @len bytes at @iova, around which it must reach what
 * the model says, and nothing else
 */
enum probe_flags {
	PROBE_BIND = 1,		/* its rings and buffers, to this address space */
	PROBE_APART = 2,	/* its rings to the other one */
	PROBE_CALLS = 4,	/* with eventfds to be called */
};

/* Nobody has the device open: it takes nothing from these rings any more */
void probe_gone(void);
void probe(uint32_t asid, uint64_t iova, unsigned int len, unsigned int flags);

#endif
