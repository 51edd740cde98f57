/* SPDX-License-Identifier: GPL-2.0 */
/* Things that fail on demand */
#ifndef SELFTEST_VDPA_FAULT_H
#define SELFTEST_VDPA_FAULT_H

#include <stdbool.h>

/*
 * Have the @nth allocation of memory of this thread from here on fail. Returned
 * by fault_disarm(): was there one? -ENOENT: no fault injection in this kernel.
 */
int fault_init(void);
void fault_arm(unsigned int nth);
bool fault_disarm(void);

/*
 * All allocations of a sequence, one after the other: those of pages, then those of
 * objects. Both together would be counted differently each time, as a cache is
 * filled with pages whenever it has to be, and some objects would be passed over.
 * Begin with zeroes; @failed is what fault_disarm() returned the last time. Each of
 * both ends with a round in which nothing fails.
 */
struct faults {
	unsigned int nth;
	unsigned int pages;	/* so many of them have failed */
	bool objects;
	bool failed;
};

/* Arm the next one. False: all have been there, or there is no end of them */
bool fault_next(struct faults *f);

/*
 * Have an operation of the simulator return -EIO: the @nth call from here on,
 * or @always from there on. @op is a directory in its debugfs, "fail_set_map".
 * Returned by sim_fail_stop(): has it failed? -ENOENT: not in this kernel.
 */
int sim_fail(const char *op, unsigned int nth, bool always);
bool sim_fail_stop(const char *op);
/* Nothing fails any more, whoever has left it so */
void faults_stop(void);

struct vdpa_dev;
struct vdpa_parent;

/* A kind of failure to go through a device's life with, one place after the other */
struct fault_source {
	const char *name;
	/* Have the @nth from here on fail. -ENOENT: not in this kernel */
	int (*arm)(const struct fault_source *source, unsigned int nth);
	/* Was there one? */
	bool (*disarm)(const struct fault_source *source);
	/* Or both, around @op, the result of which is returned */
	int (*run)(const struct fault_source *source, struct vdpa_dev *dev,
		   unsigned int nth, bool *failed, int (*op)(void *arg), void *arg);
	/* Does a parent like that come across it? (optional) */
	bool (*applies)(const struct fault_source *source,
			const struct vdpa_parent *parent);
	/* May the last one have cost the device, until it is deleted? (optional) */
	bool (*costs_device)(const struct fault_source *source);
	unsigned int how;	/* for the parent to tell one from the other */
	bool always;		/* everything fails from there on */
};

/* fault_arm() and fault_disarm() */
extern const struct fault_source memory_fault;

/*
 * Do @op with the @nth of these failing, from here on. *@failed: there was one.
 * -ENODATA: not in this kernel
 */
int fault_run(const struct fault_source *source, struct vdpa_dev *dev,
	      unsigned int nth, bool *failed, int (*op)(void *arg), void *arg);

#endif
