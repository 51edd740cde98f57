// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "parent.h"
#include "util.h"

#define PCI	"/sys/bus/pci/"

static void driver_of(const char *address, char *driver, size_t size)
{
	char path[256];
	ssize_t n;

	snprintf(path, sizeof(path), PCI "devices/%s/driver", address);
	n = readlink(path, driver, size - 1);
	driver[n < 0 ? 0 : n] = '\0';
}

/* Have vp_vdpa take the device, whoever has it now */
static int vp_vdpa_load(const struct vdpa_parent *parent, const char **why)
{
	static const char *const modules[] = {
		"vp_vdpa", "vhost_vdpa", "virtio_vdpa", "virtio_net",
		"virtio_blk", NULL
	};
	const char *address = parent->mgmtdev;
	char path[256], driver[256];

	if (load_modules(modules, why))
		return -ENOENT;

	driver_of(address, driver, sizeof(driver));
	if (strstr(driver, "/vp-vdpa"))
		return 0;
	snprintf(path, sizeof(path), PCI "devices/%s/driver/unbind", address);
	if (driver[0])
		write_file(path, address);
	snprintf(path, sizeof(path), PCI "devices/%s/driver_override", address);
	if (write_file(path, "vp-vdpa") ||
	    write_file(PCI "drivers/vp-vdpa/bind", address)) {
		*why = "vp_vdpa does not take the PCI device";
		return -ENOENT;
	}

	return 0;
}

void vp_vdpa_give_back(const char *address)
{
	char path[256];

	snprintf(path, sizeof(path), PCI "devices/%s/driver/unbind", address);
	write_file(path, address);
	snprintf(path, sizeof(path), PCI "devices/%s/driver_override", address);
	write_file(path, "\n");
	write_file(PCI "drivers_probe", address);
}

static int vp_vdpa_unload(void)
{
	static char *const modprobe[] = { "modprobe", "-r", "vp_vdpa", NULL };

	return run_program(modprobe);
}

static int vp_vdpa_pci_address(const struct vdpa_parent *parent, char *address,
			       size_t size)
{
	snprintf(address, size, "%s", parent->mgmtdev);

	return 0;
}

const struct vdpa_parent_ops vp_vdpa_ops = {
	.load = vp_vdpa_load,
	.unload = vp_vdpa_unload,
	.pci_address = vp_vdpa_pci_address,
	.keeps = true,
};
