// SPDX-License-Identifier: GPL-2.0
/*
 * A vhost-vdpa network device that does nothing, for QEMU with LD_PRELOAD: what
 * QEMU tells a device can be seen without a kernel that has one.
 *
 * FAKE_BACKEND_FEATURES is what it offers. FAKE_LOG gets a line for each message, with the
 * address in QEMU of what is mapped: migrate-guest.py looks at what is there. No frame ever
 * moves.
 *
 * It refuses what the kernel refuses: a map that overlaps with another one of its address
 * space, and maps of the size FAKE_REFUSE. With FAKE_BOUND no group can be bound to another
 * address space.
 *
 * Group 0 is that of the buffers, and 1 that of the rings, if there is one. When the device
 * starts, the rings have to be mapped in the address space of their group, and nothing in one
 * to which no group is bound. What is wrong is a line that says so.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <sys/eventfd.h>

/* Newer than Debian 12's headers */
#ifndef VHOST_VDPA_GET_VRING_DESC_GROUP
#define VHOST_VDPA_GET_VRING_DESC_GROUP _IOWR(VHOST_VIRTIO, 0x7F, struct vhost_vring_state)
#define VHOST_BACKEND_F_DESC_ASID 7
#endif

#define NODE "/dev/vhost-vdpa-fake"
/* A guest that uses its IOMMU maps each of its buffers */
#define MAX_MAPS 4096

static struct map {
	uint32_t asid;
	uint64_t iova, size;
} maps[MAX_MAPS];

#define BUFFERS 0
#define RINGS 1
#define GROUPS 2
#define SPACES 2
#define QUEUES 2

static struct queue {
	unsigned int num;
	struct vhost_vring_addr addr;
} queues[QUEUES];

static uint64_t acknowledged;
static uint32_t asid_of[GROUPS];

static int fake = -1;
static FILE *out;
static uint8_t status;

static int is_node(const char *path)
{
	return !strcmp(path, NODE);
}

static int open_node(void)
{
	out = fopen(getenv("FAKE_LOG"), "a");
	if (!out)
		return -1;
	setvbuf(out, NULL, _IOLBF, 0);
	fake = eventfd(0, EFD_CLOEXEC);
	return fake;
}

#define OPEN(name)							\
int name(const char *path, int flags, ...)				\
{									\
	int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, #name);	\
	va_list args;							\
	int mode;							\
									\
	if (is_node(path))						\
		return open_node();					\
	va_start(args, flags);						\
	mode = va_arg(args, int);					\
	va_end(args);							\
	return next(path, flags, mode);					\
}
OPEN(open)
OPEN(open64)

static int add_map(uint32_t asid, const struct vhost_iotlb_msg *msg)
{
	struct map *free = NULL;
	unsigned int i;

	for (i = 0; i < MAX_MAPS; i++) {
		struct map *m = &maps[i];

		if (!m->size)
			free = m;
		else if (m->asid == asid && m->iova < msg->iova + msg->size &&
			 msg->iova < m->iova + m->size)
			return EEXIST;
	}
	if (!free)
		return ENOSPC;
	*free = (struct map){ asid, msg->iova, msg->size };
	return 0;
}

/* A map goes as a whole, even if only a part of it is named */
static void remove_maps(uint32_t asid, const struct vhost_iotlb_msg *msg)
{
	unsigned int i;

	for (i = 0; i < MAX_MAPS; i++) {
		struct map *m = &maps[i];

		if (m->size && m->asid == asid && m->iova <= msg->iova + (msg->size - 1) &&
		    msg->iova <= m->iova + (m->size - 1))
			m->size = 0;
	}
}

static unsigned int count_maps(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < MAX_MAPS; i++)
		n += maps[i].size != 0;
	return n;
}

static int message(const struct vhost_msg_v2 *msg)
{
	const struct vhost_iotlb_msg *m = &msg->iotlb;
	int error = 0;

	switch (m->type) {
	case VHOST_IOTLB_UPDATE:
		error = m->size == strtoull(getenv("FAKE_REFUSE"), NULL, 0) ? ENOMEM :
			add_map(msg->asid, m);
		fprintf(out, "map %u %llx %llx %x %llx%s%s\n", msg->asid, m->iova, m->size,
			m->perm, m->uaddr, error ? " " : "", error ? strerror(error) : "");
		break;
	case VHOST_IOTLB_INVALIDATE:
		remove_maps(msg->asid, m);
		fprintf(out, "unmap %u %llx %llx\n", msg->asid, m->iova, m->size);
		break;
	case VHOST_IOTLB_BATCH_BEGIN:
		fprintf(out, "begin\n");
		break;
	case VHOST_IOTLB_BATCH_END:
		fprintf(out, "end\n");
		break;
	default:
		error = EINVAL;
	}
	return error;
}

ssize_t write(int fd, const void *buf, size_t size)
{
	ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");

	if (fd < 0 || fd != fake)
		return next(fd, buf, size);
	errno = message(buf);
	return errno ? -1 : (ssize_t)size;
}

static void get_config(struct vhost_vdpa_config *config)
{
	struct virtio_net_config net = {
		.mac = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 },
		.status = VIRTIO_NET_S_LINK_UP,
	};

	if (config->off < sizeof(net) && config->len <= sizeof(net) - config->off)
		memcpy(config->buf, (char *)&net + config->off, config->len);
}

static uint64_t offered(void)
{
	return strtoull(getenv("FAKE_BACKEND_FEATURES"), NULL, 0);
}

/* The group of the rings is there for those who know of it */
static unsigned int group_of_rings(void)
{
	return acknowledged & 1ULL << VHOST_BACKEND_F_DESC_ASID ? RINGS : BUFFERS;
}

static bool is_mapped(uint32_t asid, uint64_t iova, uint64_t size)
{
	unsigned int i;

	for (i = 0; i < MAX_MAPS; i++) {
		struct map *m = &maps[i];

		if (m->size && m->asid == asid && iova >= m->iova &&
		    iova - m->iova < m->size && size <= m->size - (iova - m->iova))
			return true;
	}
	return false;
}

/* Who maps something there wants a queue to reach it */
static void check_spaces(void)
{
	uint32_t rings = asid_of[group_of_rings()];
	unsigned int i;

	for (i = 0; i < MAX_MAPS; i++) {
		struct map *m = &maps[i];

		if (m->size && m->asid != asid_of[BUFFERS] && m->asid != rings)
			fprintf(out, "wrong: no group is bound to address space %u\n", m->asid);
	}
}

static void check_rings(void)
{
	uint32_t asid = asid_of[group_of_rings()];
	unsigned int i;

	for (i = 0; i < QUEUES; i++) {
		struct queue *q = &queues[i];

		if (!is_mapped(asid, q->addr.desc_user_addr, 16 * q->num) ||
		    !is_mapped(asid, q->addr.avail_user_addr, 6 + 2 * q->num) ||
		    !is_mapped(asid, q->addr.used_user_addr, 6 + 8 * q->num))
			fprintf(out, "wrong: the rings are not in the address space of their group\n");
	}
}

static int bind_group(const struct vhost_vring_state *bind)
{
	if (bind->index >= GROUPS || bind->num >= SPACES || getenv("FAKE_BOUND")) {
		errno = EINVAL;
		return -1;
	}
	asid_of[bind->index] = bind->num;
	fprintf(out, "group %u to %u\n", bind->index, bind->num);
	return 0;
}

static void set_status(uint8_t new)
{
	status = new;
	fprintf(out, new ? "status %x\n" : "reset\n", new);
	if (!new)
		memset(asid_of, 0, sizeof(asid_of));
	if (new & VIRTIO_CONFIG_S_DRIVER_OK) {
		fprintf(out, "running with %u\n", count_maps());
		check_spaces();
		check_rings();
	}
}

/* Whatever is said of a queue begins with its index */
static struct queue *queue_of(const unsigned int *index)
{
	return &queues[*index % QUEUES];
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*next)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (fd < 0 || fd != fake)
		return next(fd, request, arg);

	switch (request) {
	case VHOST_GET_FEATURES:
		*(uint64_t *)arg = 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_ACCESS_PLATFORM |
			1ULL << VIRTIO_NET_F_MAC | 1ULL << VIRTIO_NET_F_STATUS;
		break;
	case VHOST_GET_BACKEND_FEATURES:
		*(uint64_t *)arg = offered();
		break;
	case VHOST_SET_BACKEND_FEATURES:
		acknowledged = *(uint64_t *)arg;
		break;
	case VHOST_VDPA_GET_DEVICE_ID:
		*(uint32_t *)arg = VIRTIO_ID_NET;
		break;
	case VHOST_VDPA_GET_STATUS:
		*(uint8_t *)arg = status;
		break;
	case VHOST_VDPA_SET_STATUS:
		set_status(*(uint8_t *)arg);
		break;
	case VHOST_VDPA_GET_CONFIG:
		get_config(arg);
		break;
	case VHOST_VDPA_GET_VRING_NUM:
		*(uint16_t *)arg = 256;
		break;
	case VHOST_VDPA_GET_IOVA_RANGE:
		*(struct vhost_vdpa_iova_range *)arg =
			(struct vhost_vdpa_iova_range){ 0, UINT64_MAX };
		break;
	case VHOST_VDPA_GET_AS_NUM:
		*(unsigned int *)arg = SPACES;
		break;
	case VHOST_VDPA_GET_VRING_GROUP:
		((struct vhost_vring_state *)arg)->num = BUFFERS;
		break;
	case VHOST_VDPA_GET_VRING_DESC_GROUP:
		((struct vhost_vring_state *)arg)->num = group_of_rings();
		break;
	case VHOST_VDPA_SET_GROUP_ASID:
		return bind_group(arg);
	case VHOST_SET_VRING_NUM:
		queue_of(arg)->num = ((struct vhost_vring_state *)arg)->num;
		break;
	case VHOST_SET_VRING_ADDR:
		queue_of(arg)->addr = *(struct vhost_vring_addr *)arg;
		break;
	case VHOST_GET_VRING_BASE:
		((struct vhost_vring_state *)arg)->num = 0;
		break;
	}
	return 0;
}
