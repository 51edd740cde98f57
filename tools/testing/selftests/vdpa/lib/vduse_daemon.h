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

/*
 * When it dies: before it reads a message, before it answers it, and after that.
 * Or it lives, and answers that it failed.
 */
enum vduse_death {
	VDUSE_DIES_BEFORE,
	VDUSE_DIES_UNANSWERED,
	VDUSE_DIES_ANSWERED,
	VDUSE_REFUSES,
};

struct vduse_daemon {
	pid_t pid;
	char name[64];
	struct vduse_shared *shared;
};

/* A device with nobody to serve it, that offers split rings, or @packed ones, too */
int vduse_create(const char *name, bool packed);
int vduse_destroy(const char *name);
/*
 * Create the device @name and a daemon that serves it; to be added to the bus
 * by the caller. vduse_daemon_stop() needs it deleted from the bus.
 */
int vduse_daemon_start(struct vduse_daemon *d, const char *name, bool packed);
int vduse_daemon_stop(struct vduse_daemon *d);
/* Remove the device @name, whoever served it */
void vduse_daemon_cleanup(const char *name);
/* Kill the process, or have another one serve the device that lost its own */
int vduse_daemon_kill(struct vduse_daemon *d);
int vduse_daemon_restart(struct vduse_daemon *d);
/*
 * Do @op, with *@result, while the daemon dies at the @nth message. It has a
 * @successor at once, or when all is done. *@failed: there was such a message.
 */
int vduse_daemon_fail_during(struct vduse_daemon *d, unsigned int nth,
			     enum vduse_death death, bool successor, bool *failed,
			     int (*op)(void *arg), void *arg, int *result);

/* Answer this many changes of the mappings with a failure, after acting on them */
void vduse_daemon_refuse(struct vduse_daemon *d, unsigned int times);
/* Answer each reset with a failure, and go on as if there had been none */
void vduse_daemon_refuse_resets(struct vduse_daemon *d, bool refuse);
/* Keep what it has mapped when the device is reset, and rely on being told */
void vduse_daemon_keep(struct vduse_daemon *d, bool keep);

/*
 * Have the file of the device's IOVA domain mapped at @iova and keep it so, while
 * virtio-vdpa uses the device. Touch the page there: -EFAULT: SIGBUS
 */
int vduse_daemon_hold(struct vduse_daemon *d, uint64_t iova);
int vduse_daemon_touch(struct vduse_daemon *d);
/* The addresses that the kernel gave it for, and that file for the caller */
void vduse_daemon_held_range(struct vduse_daemon *d, uint64_t *start,
			     uint64_t *last);
int vduse_daemon_held_file(struct vduse_daemon *d);

/*
 * How often it was told that the device is reset, and that mappings changed, and
 * how many ranges it has mapped
 */
int vduse_daemon_resets(struct vduse_daemon *d);
int vduse_daemon_updates(struct vduse_daemon *d);
int vduse_daemon_mapped(struct vduse_daemon *d);
/* How often it did not find what a request names, or may not do that with it */
int vduse_daemon_refusals(struct vduse_daemon *d);
/* Does the kernel give it something in this range? Negative: it does not answer */
int vduse_daemon_reaches(struct vduse_daemon *d, uint64_t start, uint64_t last);
int vduse_daemon_reaches_at(struct vduse_daemon *d, uint64_t iova);

int vduse_set_timeout(const struct vduse_daemon *d, unsigned int seconds);

#endif
