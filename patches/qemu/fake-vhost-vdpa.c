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
 * space, features once they are negotiated, and to bind a group while the device runs. Of
 * the maps of the size FAKE_REFUSE it refuses those that FAKE_REFUSALS says, "1-2" for the
 * first two, and to bind a group the FAKE_BOUND-th time.
 *
 * Group 0 is that of the buffers of data queues, and 1 that of their rings, if there is one.
 * With FAKE_CVQ there is a control queue, with a group of its own, 2. "shared" has its rings in
 * the group of the other rings. Nobody answers a command, and there is none to send.
 *
 * When the device starts, the rings have to be mapped in the address space of their group, and
 * nothing in one to which no group is bound. What is wrong is a line that says so.
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
#define VHOST_BACKEND_F_PERSIST 8

#define NODE "/dev/vhost-vdpa-fake"
/* A guest that uses its IOMMU maps each of its buffers */
#define MAX_MAPS 4096

static struct map {
	uint32_t asid;
	uint64_t iova, size;
} maps[MAX_MAPS];

#define BUFFERS 0
#define RINGS 1
#define CONTROL 2
#define GROUPS 3
#define SPACES 2
#define QUEUES 3
#define CVQ 2

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

/* Is this one of the maps that are refused? */
static bool refused(uint64_t size)
{
	static unsigned long n;
	unsigned long first, last;

	return size == strtoull(getenv("FAKE_REFUSE"), NULL, 0) &&
		sscanf(getenv("FAKE_REFUSALS"), "%lu-%lu", &first, &last) == 2 &&
		++n >= first && n <= last;
}

static int message(const struct vhost_msg_v2 *msg)
{
	const struct vhost_iotlb_msg *m = &msg->iotlb;
	int error = 0;

	switch (m->type) {
	case VHOST_IOTLB_UPDATE:
		error = refused(m->size) ? ENOMEM : add_map(msg->asid, m);
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

static unsigned int group_of(unsigned int queue)
{
	return queue == CVQ ? CONTROL : BUFFERS;
}

static unsigned int group_of_rings(unsigned int queue)
{
	const char *cvq = getenv("FAKE_CVQ");

	return queue == CVQ && cvq && strcmp(cvq, "shared") ? CONTROL : RINGS;
}

/* The rings follow the buffers of one who does not know of their group */
static uint32_t asid_of_rings(unsigned int queue)
{
	return asid_of[acknowledged & 1ULL << VHOST_BACKEND_F_DESC_ASID ?
		       group_of_rings(queue) : group_of(queue)];
}

static bool in_use(unsigned int queue)
{
	return queue != CVQ || queues[queue].num;
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

static bool is_bound(uint32_t asid)
{
	unsigned int i;

	for (i = 0; i < QUEUES; i++)
		if (in_use(i) && (asid == asid_of[group_of(i)] || asid == asid_of_rings(i)))
			return true;
	return false;
}

/* Who maps something there wants a queue to reach it */
static void check_spaces(void)
{
	unsigned int i;

	for (i = 0; i < MAX_MAPS; i++)
		if (maps[i].size && !is_bound(maps[i].asid))
			fprintf(out, "wrong: no group is bound to address space %u\n",
				maps[i].asid);
}

static void check_rings(void)
{
	unsigned int i;

	for (i = 0; i < QUEUES; i++) {
		uint32_t asid = asid_of_rings(i);
		struct queue *q = &queues[i];

		if (in_use(i) && (!is_mapped(asid, q->addr.desc_user_addr, 16 * q->num) ||
				  !is_mapped(asid, q->addr.avail_user_addr, 6 + 2 * q->num) ||
				  !is_mapped(asid, q->addr.used_user_addr, 6 + 8 * q->num)))
			fprintf(out, "wrong: the rings are not in the address space of their group\n");
	}
}

static int fail(int error)
{
	errno = error;
	return -1;
}

static int bind_group(const struct vhost_vring_state *bind)
{
	static unsigned long binds;

	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		return fail(EBUSY);
	if (bind->index >= GROUPS || bind->num >= SPACES ||
	    ++binds == strtoul(getenv("FAKE_BOUND"), NULL, 0))
		return fail(EINVAL);
	asid_of[bind->index] = bind->num;
	fprintf(out, "group %u to %u\n", bind->index, bind->num);
	return 0;
}

/* Once, as long as the device is not reset */
static int set_features(void)
{
	return status & VIRTIO_CONFIG_S_FEATURES_OK ? fail(EBUSY) : 0;
}

/* Who does not keep maps has no use for a group of rings, which changes what others mean */
static int acknowledge(uint64_t features)
{
	if (features & ~offered())
		return fail(EOPNOTSUPP);
	if (features & 1ULL << VHOST_BACKEND_F_DESC_ASID &&
	    !(features & 1ULL << VHOST_BACKEND_F_PERSIST))
		fprintf(out, "wrong: a group for rings is acknowledged without a use\n");
	acknowledged = features;
	return 0;
}

static void set_status(uint8_t new)
{
	status = new;
	fprintf(out, new ? "status %x\n" : "reset\n", new);
	if (!new) {
		memset(asid_of, 0, sizeof(asid_of));
		memset(queues, 0, sizeof(queues));
	}
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
			1ULL << VIRTIO_NET_F_MAC | 1ULL << VIRTIO_NET_F_STATUS |
			(uint64_t)!!getenv("FAKE_CVQ") << VIRTIO_NET_F_CTRL_VQ;
		break;
	case VHOST_SET_FEATURES:
		return set_features();
	case VHOST_GET_BACKEND_FEATURES:
		*(uint64_t *)arg = offered();
		break;
	case VHOST_SET_BACKEND_FEATURES:
		return acknowledge(*(uint64_t *)arg);
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
		((struct vhost_vring_state *)arg)->num = group_of(*(unsigned int *)arg);
		break;
	case VHOST_VDPA_GET_VRING_DESC_GROUP:
		if (!(offered() & 1ULL << VHOST_BACKEND_F_DESC_ASID))
			return fail(EOPNOTSUPP);
		((struct vhost_vring_state *)arg)->num = group_of_rings(*(unsigned int *)arg);
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
