// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "parent.h"
#include "util.h"

#define PARAMETERS	"/sys/module/vdpa_sim/parameters/"
#define ENTRIES		2048	/* or no limit, by the age of the simulator */

/* Is it loaded, and not as @parent needs it? */
static bool sim_differs(const struct vdpa_parent *parent)
{
	char batch[16], entries[16];
	unsigned int n;

	if (read_file(PARAMETERS "batch_mapping", batch, sizeof(batch)) ||
	    read_file(PARAMETERS "max_iotlb_entries", entries,
		      sizeof(entries)))
		return false;

	n = strtoul(entries, NULL, 10);

	return atoi(batch) != parent->batch ||
	       (parent->entries ? n != parent->entries : n < ENTRIES);
}

static int sim_unload(void)
{
	static char *const modprobe[] = {
		"modprobe", "-r", "vdpa_sim_net", "vdpa_sim_blk", NULL
	};

	return run_program(modprobe);
}

static int sim_load(const struct vdpa_parent *parent, const char **why)
{
	static const char *const modules[] = {
		"vdpa_sim_net", "vdpa_sim_blk", "vhost_vdpa", "virtio_vdpa",
		"virtio_net", "virtio_blk", NULL
	};
	char batch[32], entries[32];
	const char *const parameters[] = {
		batch, parent->entries ? entries : NULL, NULL
	};

	snprintf(batch, sizeof(batch), "batch_mapping=%d", parent->batch);
	snprintf(entries, sizeof(entries), "max_iotlb_entries=%u",
		 parent->entries);
	if (sim_differs(parent) && sim_unload()) {
		*why = "the simulator is in use";
		return -ENOENT;
	}
	if (modules_are_loaded(modules))
		return 0;

	return load_module("vdpa_sim", parameters, why) ?:
	       load_modules(modules, why);
}

static void sim_check_pins(bool on)
{
	write_file(PARAMETERS "check_pins", on ? "Y" : "N");
}

const struct vdpa_parent_ops sim_ops = {
	.load = sim_load,
	.unload = sim_unload,
	.check_pins = sim_check_pins,
	.stands_for_given = true,
	.set_mac = true,
};
