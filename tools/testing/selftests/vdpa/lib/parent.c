// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "parent.h"
#include "util.h"

#define MAX_ARGS	16

int vdpa_load_parent(const struct vdpa_parent *parent, const char **why)
{
	return parent->ops->load(parent, why);
}

int vdpa_unload_parent(const struct vdpa_parent *parent)
{
	return parent->ops->unload();
}

int unload_module(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

int vdpa_remove_module(const struct vdpa_parent *parent)
{
	return unload_module(parent->module);
}

bool modules_are_loaded(const char *const modules[])
{
	char path[64];

	for (; *modules; modules++) {
		snprintf(path, sizeof(path), "/sys/module/%s", *modules);
		if (access(path, F_OK))
			return false;
	}

	return true;
}

/* modprobe @first @rest */
static int modprobe(const char *first, const char *const rest[],
		    const char **why)
{
	char *argv[MAX_ARGS] = { "modprobe", (char *)first };
	unsigned int n;

	for (n = 2; *rest && n < MAX_ARGS - 1; n++)
		argv[n] = (char *)*rest++;
	if (!run_program(argv))
		return 0;
	*why = "a module of those in the config file is missing";

	return -ENOENT;
}

int load_modules(const char *const modules[], const char **why)
{
	return modules_are_loaded(modules) ? 0 : modprobe("-qa", modules, why);
}

int load_module(const char *module, const char *const parameters[],
		const char **why)
{
	return modprobe(module, parameters, why);
}
