// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/vdpa.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netlink.h"
#include "parent.h"

static const uint8_t dev_mac[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

/* A generic netlink request; big enough for all that is sent and received here */
struct genl_msg {
	struct nlmsghdr nlh;
	struct genlmsghdr genl;
	char attrs[1024];
};

static void genl_init(struct genl_msg *msg, uint16_t family, uint8_t cmd)
{
	memset(msg, 0, sizeof(*msg));
	msg->nlh.nlmsg_len = NLMSG_LENGTH(sizeof(msg->genl));
	msg->nlh.nlmsg_type = family;
	msg->nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	msg->genl.cmd = cmd;
	msg->genl.version = 1;
}

static void genl_attr(struct genl_msg *msg, uint16_t type, const void *data,
		      size_t len)
{
	struct nlattr *attr = (void *)msg + NLMSG_ALIGN(msg->nlh.nlmsg_len);

	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	memcpy((void *)attr + NLA_HDRLEN, data, len);
	msg->nlh.nlmsg_len = NLMSG_ALIGN(msg->nlh.nlmsg_len) +
			     NLA_ALIGN(attr->nla_len);
}

static void genl_attr_str(struct genl_msg *msg, uint16_t type, const char *str)
{
	genl_attr(msg, type, str, strlen(str) + 1);
}

/* Send and have the answer in @msg, if there is one but the error */
static int genl_request(int fd, struct genl_msg *msg)
{
	struct nlmsgerr *err = (void *)&msg->genl;

	if (send(fd, msg, msg->nlh.nlmsg_len, 0) < 0 ||
	    recv(fd, msg, sizeof(*msg), 0) < 0)
		return -errno;

	return msg->nlh.nlmsg_type == NLMSG_ERROR ? err->error : 0;
}

static int vdpa_genl_family(int fd)
{
	struct genl_msg msg;
	struct nlattr *attr;
	int r;

	genl_init(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	genl_attr_str(&msg, CTRL_ATTR_FAMILY_NAME, VDPA_GENL_NAME);
	msg.nlh.nlmsg_flags = NLM_F_REQUEST;
	r = genl_request(fd, &msg);
	if (r)
		return r;

	for (attr = (void *)msg.attrs;
	     (char *)attr < (char *)&msg + msg.nlh.nlmsg_len;
	     attr = (void *)attr + NLA_ALIGN(attr->nla_len))
		if (attr->nla_type == CTRL_ATTR_FAMILY_ID)
			return *(uint16_t *)((void *)attr + NLA_HDRLEN);

	return -ENOENT;
}

int vdpa_genl_open(struct vdpa_genl *g)
{
	g->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (g->fd < 0)
		return -errno;
	g->family = vdpa_genl_family(g->fd);
	if (g->family < 0)
		close(g->fd);

	return g->family < 0 ? g->family : 0;
}

static int genl_attr_mgmtdev(struct genl_msg *msg,
			     const struct vdpa_parent *parent)
{
	char address[64];
	int r;

	if (!parent->ops->pci_address) {
		genl_attr_str(msg, VDPA_ATTR_MGMTDEV_DEV_NAME, parent->mgmtdev);
		return 0;
	}

	r = parent->ops->pci_address(parent, address, sizeof(address));
	if (r)
		return r;
	genl_attr_str(msg, VDPA_ATTR_MGMTDEV_BUS_NAME, "pci");
	genl_attr_str(msg, VDPA_ATTR_MGMTDEV_DEV_NAME, address);

	return 0;
}

int vdpa_genl_add(struct vdpa_genl *g, const char *name,
		  const struct vdpa_parent *parent)
{
	struct genl_msg msg;
	int r;

	genl_init(&msg, g->family, VDPA_CMD_DEV_NEW);
	r = genl_attr_mgmtdev(&msg, parent);
	if (r)
		return r;
	genl_attr_str(&msg, VDPA_ATTR_DEV_NAME, name);
	if (parent->device_id == VIRTIO_ID_NET && parent->ops->set_mac)
		genl_attr(&msg, VDPA_ATTR_DEV_NET_CFG_MACADDR, dev_mac,
			  sizeof(dev_mac));
	if (parent->vq_pairs)
		genl_attr(&msg, VDPA_ATTR_DEV_NET_CFG_MAX_VQP, &parent->vq_pairs,
			  sizeof(parent->vq_pairs));
	if (parent->mtu)
		genl_attr(&msg, VDPA_ATTR_DEV_NET_CFG_MTU, &parent->mtu,
			  sizeof(parent->mtu));

	return genl_request(g->fd, &msg);
}

int vdpa_genl_del(struct vdpa_genl *g, const char *name)
{
	struct genl_msg msg;

	genl_init(&msg, g->family, VDPA_CMD_DEV_DEL);
	genl_attr_str(&msg, VDPA_ATTR_DEV_NAME, name);

	return genl_request(g->fd, &msg);
}
