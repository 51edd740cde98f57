// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fault.h"
#include "parent.h"
#include "util.h"

#define PARAMETERS	"/sys/module/vdpa_sim/parameters/"
#define ENTRIES		2048	/* or no limit, by the age of the simulator */

/* Is the operation there? It always is where no parameter can leave it out */
static bool sim_has(const char *op)
{
	char path[128], has[16];

	snprintf(path, sizeof(path), PARAMETERS "%s", op);

	return read_file(path, has, sizeof(has)) || has[0] == 'Y';
}

/* Does it take addresses of the client's, where others take those of memory? */
static bool sim_uses_va(void)
{
	char has[16];

	return !read_file(PARAMETERS "use_va", has, sizeof(has)) && has[0] == 'Y';
}

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

	return atoi(batch) != parent->batch || sim_uses_va() ||
	       (parent->entries ? n != parent->entries : n < ENTRIES) ||
	       sim_has("reset_map") == parent->no_reset_map ||
	       sim_has("compat_reset") == parent->no_compat_reset;
}

bool sim_is_standard(void)
{
	const struct vdpa_parent standard = SIM_NET(true);

	return !sim_differs(&standard);
}

static int sim_unload(void)
{
	static char *const modprobe[] = {
		"modprobe", "-r", "vdpa_sim_net", "vdpa_sim_blk", NULL
	};

	return run_program(modprobe);
}

static int sim_lacks_ops(const struct vdpa_parent *parent, const char **why)
{
	if (sim_has("reset_map") != parent->no_reset_map &&
	    sim_has("compat_reset") != parent->no_compat_reset)
		return 0;
	*why = "the simulator can't leave out operations in this kernel";

	return -ENOENT;
}

static int sim_load(const struct vdpa_parent *parent, const char **why)
{
	static const char *const modules[] = {
		"vdpa_sim_net", "vdpa_sim_blk", "vhost_vdpa", "virtio_vdpa",
		"virtio_net", "virtio_blk", NULL
	};
	const char *parameters[6] = {}, **p = parameters;
	char batch[32], entries[32];

	snprintf(batch, sizeof(batch), "batch_mapping=%d", parent->batch);
	*p++ = batch;
	/* As hardware does it. A kernel that does not know of it says so */
	*p++ = "use_va=0";
	snprintf(entries, sizeof(entries), "max_iotlb_entries=%u",
		 parent->entries);
	if (parent->entries)
		*p++ = entries;
	if (parent->no_reset_map)
		*p++ = "reset_map=0";
	if (parent->no_compat_reset)
		*p++ = "compat_reset=0";
	if (sim_differs(parent) && sim_unload()) {
		*why = "the simulator is in use";
		return -ENOENT;
	}
	if (modules_are_loaded(modules))
		return sim_lacks_ops(parent, why);

	return load_module("vdpa_sim", parameters, why) ?:
	       load_modules(modules, why) ?:
	       sim_lacks_ops(parent, why);
}

static void sim_check_pins(bool on)
{
	write_file(PARAMETERS "check_pins", on ? "Y" : "N");
}

static int sim_arm(const struct fault_source *source, unsigned int nth)
{
	return sim_fail(source->name, nth, source->always);
}

static bool sim_disarm(const struct fault_source *source)
{
	return sim_fail_stop(source->name);
}

/* Operations that a simulator has one way or the other */
enum sim_op { ANY, BY_SET_MAP, BY_DMA_MAP };

static bool sim_applies(const struct fault_source *source,
			const struct vdpa_parent *parent)
{
	return source->how == ANY || (source->how == BY_SET_MAP) == parent->batch;
}

#define SIM_FAULT(_op, _how, _always)					\
	{ .name = (_op), .arm = sim_arm, .disarm = sim_disarm,		\
	  .applies = sim_applies, .how = (_how), .always = (_always) }

static const struct fault_source sim_faults[] = {
	SIM_FAULT("fail_set_map", BY_SET_MAP, false),
	SIM_FAULT("fail_set_map", BY_SET_MAP, true),
	SIM_FAULT("lose_map", BY_SET_MAP, false),
	SIM_FAULT("lose_map", BY_SET_MAP, true),
	SIM_FAULT("fail_dma_map", BY_DMA_MAP, false),
	SIM_FAULT("fail_dma_map", BY_DMA_MAP, true),
	SIM_FAULT("fail_dma_unmap", BY_DMA_MAP, false),
	SIM_FAULT("fail_dma_unmap", BY_DMA_MAP, true),
	SIM_FAULT("fail_reset_map", ANY, false),
	SIM_FAULT("fail_reset_map", ANY, true),
	SIM_FAULT("fail_reset", ANY, false),
	SIM_FAULT("fail_reset", ANY, true),
	{}
};

const struct vdpa_parent_ops sim_ops = {
	.load = sim_load,
	.unload = sim_unload,
	.check_pins = sim_check_pins,
	.faults = sim_faults,
	.stands_for_given = true,
	.set_mac = true,
};
