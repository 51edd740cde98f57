/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The device under test: one that the test creates, or the device that the
 * command line names (-d), which is there already and is left there.
 */
#ifndef SELFTEST_VDPA_DEV_H
#define SELFTEST_VDPA_DEV_H

#include <stdbool.h>
#include <stddef.h>

#include "parent.h"

struct vdpa_dev {
	const struct vdpa_parent *parent;
	char name[64];		/* on the vdpa bus */
	char path[64];		/* of the character device */
	bool created;
	unsigned int nas;	/* number of address spaces */
	bool use_va;		/* only shared memory is mapped, nothing is pinned */
	bool keeps;		/* its reset has never dropped mappings */
	long violations;	/* of its parent, when the test began */
	struct vduse_daemon *daemon;
};

/* What the command line says about the device under test */
struct vdpa_given {
	char name[64];		/* of a device on the vdpa bus; "" if none */
	bool no_loop;
	bool keeps;
	bool no_burst;
	bool may_rebind;
	bool packed;
	bool quick;
	const char *pattern;	/* of the names of the tests to run */
	int seconds;		/* after which a test has failed; 0: its own limit */
	unsigned int times;	/* that all of these are run */
	bool list;		/* do not run them, but say their names */
};

extern struct vdpa_given vdpa_given;

/* Fill it in, and leave a command line without arguments; returns their number */
int vdpa_parse_args(int argc, char **argv);
/* Can the device be opened that the command line names? 0, or why it can't */
int vdpa_check_given(void);
/* How often to do what may be done less often with -q */
unsigned int vdpa_rounds(unsigned int rounds);

/*
 * Give the test its device, bound to vhost-vdpa. -ENODEV: the device that the
 * command line names is another kind of parent. -ENOENT: something is missing,
 * or is not allowed, @why says what. Any other error is one of the device.
 */
int vdpa_dev_get(struct vdpa_dev *dev, const struct vdpa_parent *parent,
		 const char **why);
void vdpa_dev_put(struct vdpa_dev *dev);
/*
 * One more like it, beside the first one. -ENODEV, -ENOSPC: the command line
 * names the only one, the parent has no more
 */
int vdpa_dev_get_second(struct vdpa_dev *dev, const struct vdpa_parent *parent);
/* Of any parent: is there one that is not of these tests? */
bool vdpa_dev_of_others(void);
/* Blocks while it is open */
int vdpa_dev_del(const struct vdpa_dev *dev);
/* May be bound to another driver and back: it is the test's, or -r says so */
bool vdpa_may_rebind(const struct vdpa_dev *dev);
int vdpa_bind(struct vdpa_dev *dev, const char *driver);
/* After all tests, also those that did not come to their end */
void vdpa_dev_cleanup(void);

/*
 * Whether the parent, if it can, looks out for pages that it has mapped and that
 * are not pinned: from vdpa_dev_get() on. It takes time for each page.
 */
void vdpa_check_pins(const struct vdpa_dev *dev, bool on);
/* What no driver may do, since vdpa_dev_get(); 0 where nobody looks */
long vdpa_violations(const struct vdpa_dev *dev);
/* ... and the last of it */
const char *vdpa_violation(const struct vdpa_dev *dev);
/* How often the device was refused memory, ever; -1 where nobody counts */
long vdpa_refusals(const struct vdpa_dev *dev);

/* Memory of a kind that the device can have mapped; NULL if there is none */
void *vdpa_dev_alloc(const struct vdpa_dev *dev, size_t size);

#endif
