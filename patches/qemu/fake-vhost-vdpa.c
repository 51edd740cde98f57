// SPDX-License-Identifier: GPL-2.0
/*
 * A vhost-vdpa network device that does nothing, for QEMU with LD_PRELOAD: what
 * QEMU tells a device can be seen without a kernel that has one.
 *
 * It refuses what the kernel refuses: a map that overlaps with another one of its
 * address space, and maps of the size FAKE_REFUSE. FAKE_BACKEND_FEATURES is what it
 * offers, FAKE_LOG gets a line for each message. No frame ever moves.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
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

#define NODE "/dev/vhost-vdpa-fake"
/* A guest that uses its IOMMU maps each of its buffers */
#define MAX_MAPS 4096

static struct map {
	uint32_t asid;
	uint64_t iova, size;
} maps[MAX_MAPS];

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
		fprintf(out, "map %u %llx %llx %x%s%s\n", msg->asid, m->iova, m->size, m->perm,
			error ? " " : "", error ? strerror(error) : "");
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

static void set_status(uint8_t new)
{
	status = new;
	fprintf(out, new ? "status %x\n" : "reset\n", new);
	if (new & VIRTIO_CONFIG_S_DRIVER_OK)
		fprintf(out, "running with %u\n", count_maps());
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
		*(uint64_t *)arg = strtoull(getenv("FAKE_BACKEND_FEATURES"), NULL, 0);
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
	case VHOST_GET_VRING_BASE:
		((struct vhost_vring_state *)arg)->num = 0;
		break;
	}
	return 0;
}
