/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A VDUSE device for the tests: a disk in the memory of a process of its own,
 * which does what Documentation/userspace-api/vduse.rst asks of a daemon, and
 * which can be asked what it reaches.
 */
#ifndef SELFTEST_VDPA_VDUSE_DAEMON_H
#define SELFTEST_VDPA_VDUSE_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct vduse_shared;

struct vduse_daemon {
	pid_t pid;
	char name[64];
	struct vduse_shared *shared;
};

/*
 * Create the device @name and a daemon that serves it; to be added to the bus
 * by the caller. vduse_daemon_stop() needs it deleted from the bus.
 */
int vduse_daemon_start(struct vduse_daemon *d, const char *name);
int vduse_daemon_stop(struct vduse_daemon *d);
/* Kill the process, or have another one serve the device that lost its own */
int vduse_daemon_kill(struct vduse_daemon *d);
int vduse_daemon_restart(struct vduse_daemon *d);

/* Answer this many changes of the mappings with a failure, after acting on them */
void vduse_daemon_refuse(struct vduse_daemon *d, unsigned int times);
/* Keep what it has mapped when the device is reset, and rely on being told */
void vduse_daemon_keep(struct vduse_daemon *d, bool keep);

/* How often it was told that mappings changed, how many ranges it has mapped */
int vduse_daemon_updates(struct vduse_daemon *d);
int vduse_daemon_mapped(struct vduse_daemon *d);
/* Does the kernel give it something in this range? Negative: it does not answer */
int vduse_daemon_reaches(struct vduse_daemon *d, uint64_t start, uint64_t last);
int vduse_daemon_reaches_at(struct vduse_daemon *d, uint64_t iova);

int vduse_set_timeout(const struct vduse_daemon *d, unsigned int seconds);

#endif
