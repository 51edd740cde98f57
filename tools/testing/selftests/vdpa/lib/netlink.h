/* SPDX-License-Identifier: GPL-2.0 */
/* What creates and removes devices, for a test to look at this step itself */
#ifndef SELFTEST_VDPA_NETLINK_H
#define SELFTEST_VDPA_NETLINK_H

struct vdpa_parent;

struct vdpa_genl {
	int fd;
	int family;
};

int vdpa_genl_open(struct vdpa_genl *g);
int vdpa_genl_add(struct vdpa_genl *g, const char *name,
		  const struct vdpa_parent *parent);
int vdpa_genl_del(struct vdpa_genl *g, const char *name);

#endif
