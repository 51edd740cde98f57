// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "mlx5_model.h"
#include "parent.h"
#include "util.h"

static int mlx5_have_firmware(const char *file, bool val)
{
	return mlx5_mock_get(file) == val ? 0 : mlx5_mock_set_firmware(file, val);
}

/* Tests that need no key for the rings choose for themselves what else there is */
static int mlx5_choose_firmware(const struct vdpa_parent *parent)
{
	if (!parent->desc_group && mlx5_mock_get("desc_group") <= 0)
		return 0;

	return mlx5_have_firmware("freeze_to_rdy", parent->resumable) ?:
	       mlx5_have_firmware("desc_group", parent->desc_group);
}

static int mlx5_load(const struct vdpa_parent *parent, const char **why)
{
	static const char *const modules[] = {
		"mlx5_mock", "mlx5_vdpa", "vhost_vdpa", "virtio_vdpa",
		"virtio_net", NULL
	};

	if (load_modules(modules, why)) {
		*why = "no mlx5_vdpa, or no model of its firmware (tools/testing/vdpa/mlx5)";
		return -ENOENT;
	}
	if (access(MLX5_MOCK, F_OK)) {
		*why = "no PCI device for the mlx5 model (an ivshmem of QEMU), or no debugfs";
		return -ENOENT;
	}

	if (mlx5_choose_firmware(parent)) {
		*why = "cannot have the mlx5 model be another firmware: not root";
		return -ENOENT;
	}

	return 0;
}

static int mlx5_unload(void)
{
	static char *const modprobe[] = { "modprobe", "-r", "mlx5_vdpa", NULL };

	return run_program(modprobe);
}

/* mlx5_vdpa calls its management device after the one it is a part of */
static int mlx5_pci_address(const struct vdpa_parent *parent, char *address,
			    size_t size)
{
	char path[256];
	int r = find_one("/sys/bus/pci/drivers/mlx5_mock/0000:*", path,
			 sizeof(path));

	if (!r)
		snprintf(address, size, "%s", strrchr(path, '/') + 1);

	return r;
}

static void mlx5_check_pins(bool on)
{
	mlx5_mock_set("check_pins", on);
}

static long mlx5_violations(void)
{
	long n = mlx5_mock_get("violations");

	if (n < 0)
		give_up("cannot tell what the driver did to the model");

	return n;
}

static long mlx5_refusals(const struct vdpa_dev *dev)
{
	return mlx5_mock_get("faults");
}

/* All that follow, if the source is one of those that go on */
#define ALL_MORE	1000000

/* Objects that could not be destroyed, before something was made to fail */
static long stuck;

static int mlx5_arm(const struct fault_source *source, unsigned int nth)
{
	stuck = mlx5_mock_get("stuck");
	if (mlx5_mock_set("fail_more", source->always ? ALL_MORE : 0))
		return -ENOENT;
	mlx5_mock_arm(nth, 0);

	return 0;
}

static bool mlx5_disarm(const struct fault_source *source)
{
	return mlx5_mock_disarm();
}

/* What cannot be destroyed is the device's until it is deleted */
static bool mlx5_costs_device(const struct fault_source *source)
{
	return mlx5_mock_get("stuck") > stuck;
}

#define MLX5_FAULT(_always)						\
	{ .name = "firmware command", .arm = mlx5_arm,			\
	  .disarm = mlx5_disarm, .costs_device = mlx5_costs_device,	\
	  .always = (_always) }

static const struct fault_source mlx5_faults[] = {
	MLX5_FAULT(false),
	MLX5_FAULT(true),
	{}
};

const struct vdpa_parent_ops mlx5_ops = {
	.load = mlx5_load,
	.unload = mlx5_unload,
	.pci_address = mlx5_pci_address,
	.check_pins = mlx5_check_pins,
	.violations = mlx5_violations,
	.violation = mlx5_mock_violation,
	.refusals = mlx5_refusals,
	.faults = mlx5_faults,
	.set_mac = true,
};
