// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dev.h"
#include "fault.h"
#include "parent.h"
#include "util.h"
#include "vduse_daemon.h"

static int vduse_unload(void)
{
	static char *const modprobe[] = { "modprobe", "-r", "vduse", NULL };

	return run_program(modprobe);
}

static int vduse_load(const struct vdpa_parent *parent, const char **why)
{
	static const char *const modules[] = {
		"vhost_vdpa", "virtio_vdpa", "virtio_blk", NULL
	};
	char now[16] = "", entries[64];
	const char *const parameters[] = { entries, NULL };

	read_file("/sys/module/vduse/parameters/max_iotlb_entries", now,
		  sizeof(now));
	if (now[0] && strtoul(now, NULL, 10) != parent->entries && vduse_unload()) {
		*why = "VDUSE is in use";
		return -ENOENT;
	}
	snprintf(entries, sizeof(entries), "max_iotlb_entries=%u",
		 parent->entries);

	return load_module("vduse", parameters, why) ?:
	       load_modules(modules, why);
}

/* The process is part of the device */
static int vduse_start(struct vdpa_dev *dev)
{
	int r;

	dev->daemon = calloc(1, sizeof(*dev->daemon));
	if (!dev->daemon)
		return -ENOMEM;
	r = vduse_daemon_start(dev->daemon, dev->name, dev->parent->packed);
	if (r) {
		free(dev->daemon);
		dev->daemon = NULL;
	}

	return r;
}

static void vduse_stop(struct vdpa_dev *dev)
{
	if (!dev->daemon)
		return;
	vduse_daemon_stop(dev->daemon);
	free(dev->daemon);
	dev->daemon = NULL;
}

static long vduse_refusals(const struct vdpa_dev *dev)
{
	return dev->daemon ? vduse_daemon_refusals(dev->daemon) : -1;
}

/* With a successor that relies on being told what was taken away */
static int vduse_run(const struct fault_source *source, struct vdpa_dev *dev,
		     unsigned int nth, bool *failed, int (*op)(void *arg), void *arg)
{
	int r, result = 0;

	vduse_daemon_keep(dev->daemon, true);
	r = vduse_daemon_fail_during(dev->daemon, nth, source->how, true, failed,
				     op, arg, &result);

	return r ?: result;
}

#define VDUSE_FAULT(_name, _how)					\
	{ .name = (_name), .run = vduse_run, .how = (_how) }

static const struct fault_source vduse_faults[] = {
	VDUSE_FAULT("death before a message", VDUSE_DIES_BEFORE),
	VDUSE_FAULT("death at a message", VDUSE_DIES_UNANSWERED),
	VDUSE_FAULT("death after a message", VDUSE_DIES_ANSWERED),
	VDUSE_FAULT("refused message", VDUSE_REFUSES),
	{}
};

const struct vdpa_parent_ops vduse_ops = {
	.load = vduse_load,
	.unload = vduse_unload,
	.start = vduse_start,
	.stop = vduse_stop,
	.refusals = vduse_refusals,
	.faults = vduse_faults,
	.use_va = true,
	.keeps = true,
};
