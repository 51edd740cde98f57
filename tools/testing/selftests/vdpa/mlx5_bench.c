// SPDX-License-Identifier: GPL-2.0
/*
 * Not a test: what mlx5_vdpa asks of the firmware, and what it costs the CPU, when
 * the virtio device is started, reset and started again or suspended, when a region of memory is
 * plugged or unplugged, and when memory is mapped for the first time. On the model of the firmware
 * (tools/testing/vdpa/mlx5), whose own work is part of the cost: a command costs what
 * checking it takes.
 *
 * One "key=value ..." line per result: "commands", of which "chain" had to wait for
 * each other, and "us" as the model reckons what they would have taken on silicon.
 * "ns" is of the monotonic clock; in a virtual machine whose clock counts instructions
 * (qemu -icount shift=0) it is instructions, and repeats exactly but for the model's
 * thread, which polls.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest.h"
#include "lib/client.h"
#include "lib/dev.h"
#include "lib/io.h"
#include "lib/mem.h"
#include "lib/mlx5_model.h"

#define BULK_IOVA BIT_ULL(32)
#define PLUG_IOVA BIT_ULL(33)

#define RING_IOVA BIT_ULL(31)
#define RING_NUM 256

struct bench {
	struct vdpa_client c;
	char *mem;
	unsigned int regions;
	size_t stride;		/* in the address space; memory is contiguous */
	size_t size;		/* of a region */
	/* With more than one pair of queues, which are empty */
	unsigned int pairs;
	struct ring *rings;
	int kick;
};

struct ring {
	struct vring_desc desc[RING_NUM];
	struct {
		uint16_t flags;
		uint16_t idx;
		uint16_t ring[RING_NUM];
	} alignas(64) avail;
	struct {
		uint16_t flags;
		uint16_t idx;
		struct vring_used_elem ring[RING_NUM];
	} alignas(64) used;
	uint8_t ctrl[64];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static size_t rings_size(const struct bench *b)
{
	size_t size = getpagesize();

	while (size < (2 * b->pairs + 1) * sizeof(struct ring))
		size *= 2;

	return size;
}

static int bench_map(struct bench *b)
{
	unsigned int i;
	int r = client_batch(&b->c, 0, true);

	if (!r)
		r = client_map(&b->c);
	if (!r && b->pairs)
		r = client_map_at(&b->c, 0, RING_IOVA, b->rings, rings_size(b));
	for (i = 0; !r && i < b->regions; i++)
		r = client_map_at(&b->c, 0, BULK_IOVA + i * b->stride,
				  b->mem + i * b->size, b->size);

	return r ?: client_batch(&b->c, 0, false);
}

static int bench_unmap(struct bench *b)
{
	int r = client_batch(&b->c, 0, true);

	if (!r)
		r = client_unmap(&b->c);
	if (!r && b->pairs)
		r = client_unmap_at(&b->c, 0, RING_IOVA, rings_size(b));
	if (!r)
		r = client_unmap_at(&b->c, 0, BULK_IOVA,
				    b->regions * b->stride);

	return r ?: client_batch(&b->c, 0, false);
}

static int set_status(struct bench *b, uint8_t status)
{
	return ioctl(b->c.fd, VHOST_VDPA_SET_STATUS, &status) ? -errno : 0;
}

static int start_ring(struct bench *b, unsigned int i)
{
	const uint64_t ring = RING_IOVA + i * sizeof(struct ring);
	struct vhost_vring_state num = { .index = i, .num = RING_NUM };
	struct vhost_vring_state base = { .index = i };
	struct vhost_vring_state enable = { .index = i, .num = 1 };
	struct vhost_vring_file kick = { .index = i, .fd = b->kick };
	struct vhost_vring_addr addr = {
		.index = i,
		.desc_user_addr = ring,
		.avail_user_addr = ring + offsetof(struct ring, avail),
		.used_user_addr = ring + offsetof(struct ring, used),
	};

	if (ioctl(b->c.fd, VHOST_SET_VRING_NUM, &num) ||
	    ioctl(b->c.fd, VHOST_SET_VRING_BASE, &base) ||
	    ioctl(b->c.fd, VHOST_SET_VRING_ADDR, &addr) ||
	    /* Each has to have one; those of the data queues are never rung */
	    ioctl(b->c.fd, VHOST_SET_VRING_KICK, &kick) ||
	    ioctl(b->c.fd, VHOST_VDPA_SET_VRING_ENABLE, &enable))
		return -errno;

	return 0;
}

/* Ask for all pairs, by the control queue */
static int set_pairs(struct bench *b)
{
	struct ring *ring = &b->rings[2 * b->pairs];
	const uint64_t ctrl = RING_IOVA + ((uint8_t *)ring->ctrl - (uint8_t *)b->rings);
	const uint8_t cmd[] = {
		VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, b->pairs, 0,
	};
	uint64_t end = now_ns() + 60 * 1000000000ULL;

	memcpy(ring->ctrl, cmd, sizeof(cmd));
	ring->ctrl[32] = 0xff;
	ring->desc[0] = (struct vring_desc) {
		.addr = ctrl, .len = sizeof(cmd), .flags = VRING_DESC_F_NEXT, .next = 1,
	};
	ring->desc[1] = (struct vring_desc) {
		.addr = ctrl + 32, .len = 1, .flags = VRING_DESC_F_WRITE,
	};
	__atomic_store_n(&ring->avail.idx, 1, __ATOMIC_RELEASE);
	if (eventfd_write(b->kick, 1))
		return -errno;
	while (!__atomic_load_n(&ring->used.idx, __ATOMIC_ACQUIRE)) {
		if (now_ns() > end)
			return -ETIMEDOUT;
		usleep(200);
	}

	return ring->ctrl[32] == VIRTIO_NET_OK ? 0 : -EIO;
}

/* Through client_start() with one pair, which has something to send later */
static int bench_start(struct bench *b)
{
	const uint8_t features_ok = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
				    VIRTIO_CONFIG_S_FEATURES_OK;
	const uint64_t features = BIT_ULL(VIRTIO_F_VERSION_1) |
				  BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) |
				  BIT_ULL(VIRTIO_NET_F_MAC) | BIT_ULL(VIRTIO_NET_F_STATUS) |
				  BIT_ULL(VIRTIO_NET_F_CTRL_VQ) | BIT_ULL(VIRTIO_NET_F_MQ);
	unsigned int i;
	int r;

	if (!b->pairs)
		return client_start(&b->c);

	memset(b->rings, 0, (2 * b->pairs + 1) * sizeof(*b->rings));
	r = set_status(b, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	if (!r && ioctl(b->c.fd, VHOST_SET_FEATURES, &features))
		r = -errno;
	r = r ?: set_status(b, features_ok);
	for (i = 0; !r && i <= 2 * b->pairs; i++)
		r = start_ring(b, i);
	r = r ?: set_status(b, features_ok | VIRTIO_CONFIG_S_DRIVER_OK);
	if (!r && !client_is_running(&b->c))
		r = -EIO;

	return r ?: set_pairs(b);
}

/* Have the device running again, as this kernel wants it */
static int restart(struct bench *b)
{
	bool persist = b->c.features & F_PERSIST;
	int r = persist ? 0 : bench_unmap(b);

	if (!r)
		r = client_reset(&b->c);
	if (!r && !persist)
		r = bench_map(b);

	return r ?: bench_start(b);
}

/* Until it is known where each queue has stopped */
static int suspend(struct bench *b)
{
	struct vhost_vring_state base = {};
	int r = ioctl(b->c.fd, VHOST_VDPA_SUSPEND) ? -errno : 0;

	for (; !r && base.index < 2 * b->pairs; base.index++)
		if (ioctl(b->c.fd, VHOST_GET_VRING_BASE, &base))
			r = -errno;

	return r;
}

/* The memory after the last region */
static int plug(struct bench *b)
{
	return client_map_at(&b->c, 0, PLUG_IOVA,
			     b->mem + b->regions * b->size, b->size);
}

static int unplug(struct bench *b)
{
	return client_unmap_at(&b->c, 0, PLUG_IOVA, b->size);
}

static int measure(struct bench *b, const char *what, unsigned int n,
		   int (*step)(struct bench *b))
{
	long commands = mlx5_mock_get("total"), chain = mlx5_mock_get("chain");
	long us = mlx5_mock_get("time_us");
	uint64_t start = now_ns();
	int r = step(b);
	uint64_t end = now_ns();

	if (!r)
		printf("%s n=%u persist=%d commands=%ld chain=%ld us=%ld ns=%llu\n", what,
		       n, !!(b->c.features & F_PERSIST),
		       mlx5_mock_get("total") - commands,
		       mlx5_mock_get("chain") - chain, mlx5_mock_get("time_us") - us,
		       (unsigned long long)(end - start));

	return r;
}

static int bench_open(struct bench *b, const struct vdpa_dev *dev)
{
	int r;

	b->mem = mmap(NULL, (b->regions + 1) * b->size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (b->mem == MAP_FAILED)
		return -errno;
	b->kick = eventfd(0, EFD_CLOEXEC);
	if (b->pairs)
		/* The driver of the base may not be able to map smaller pages */
		b->rings = huge_alloc(HUGE_SIZE);
	if (b->kick < 0 || (b->pairs && !b->rings))
		return -ENOMEM;
	r = client_open(&b->c, dev, 0);
	if (!r)
		r = client_ack(&b->c, b->c.features);
	if (!r)
		r = bench_map(b);
	/* The first one of this device */
	if (!r && b->pairs)
		return measure(b, "start", 2 * b->pairs, bench_start);

	return r ?: bench_start(b) ?: client_io(&b->c, IO_TIMEOUT_MS);
}

static void bench_close(struct bench *b)
{
	client_close(&b->c);
	close(b->kick);
	if (b->rings)
		munmap(b->rings, HUGE_SIZE);
	munmap(b->mem, (b->regions + 1) * b->size);
}

static int bench_reset(const struct vdpa_dev *dev, unsigned int mib)
{
	struct bench b = {
		.regions = mib,
		.stride = 1 << 20,
		.size = 1 << 20,
	};
	int r = bench_open(&b, dev);

	/* Once to warm up */
	if (!r)
		r = restart(&b);
	if (!r)
		r = measure(&b, "restart", mib, restart);
	bench_close(&b);

	return r;
}

static int bench_plug(const struct vdpa_dev *dev, unsigned int regions)
{
	struct bench b = {
		.regions = regions,
		.stride = 2 * getpagesize(),
		.size = getpagesize(),
	};
	int r = bench_open(&b, dev);

	if (!r)
		r = plug(&b) ?: unplug(&b);
	if (!r)
		r = measure(&b, "plug", regions, plug);
	if (!r)
		r = measure(&b, "unplug", regions, unplug);
	bench_close(&b);

	return r;
}

/* With @queues of them, at rest, and a page of memory */
static int bench_queues(const struct vdpa_dev *dev, unsigned int queues)
{
	struct bench b = {
		.pairs = queues / 2,
		.regions = 1,
		.stride = 2 * getpagesize(),
		.size = getpagesize(),
	};
	int r = bench_open(&b, dev);

	/* Once to warm up */
	r = r ?: restart(&b) ?: plug(&b) ?: unplug(&b);
	r = r ?: measure(&b, "restart", queues, restart);
	r = r ?: measure(&b, "plug", queues, plug) ?: measure(&b, "unplug", queues, unplug);
	r = r ?: measure(&b, "suspend", queues, suspend);
	bench_close(&b);

	return r;
}

/* Of the same memory, as often as it takes */
static int first_map(struct bench *b)
{
	unsigned int i;
	int r = client_batch(&b->c, 0, true);

	for (i = 0; !r && i < b->regions; i++)
		r = client_map_at(&b->c, 0, BULK_IOVA + i * b->stride, b->mem, b->size);

	return r ?: client_batch(&b->c, 0, false);
}

/* In huge pages, if there are some */
static int bench_first_map(const struct vdpa_dev *dev, unsigned int gib)
{
	struct bench b = {
		.regions = gib,
		.stride = 1 << 30,
		.size = 1 << 30,
	};
	int r;

	b.mem = huge_alloc(b.size);
	if (!b.mem)
		return -errno;
	r = client_open(&b.c, dev, 0);
	r = r ?: client_ack(&b.c, b.c.features) ?: measure(&b, "first_map", gib, first_map);
	client_close(&b.c);
	munmap(b.mem, b.size);

	return r;
}

typedef int (*bench_fn)(const struct vdpa_dev *dev, unsigned int n);

static int run(const struct vdpa_parent *parent, bench_fn bench, unsigned int n)
{
	struct vdpa_dev dev;
	const char *why;
	int r = vdpa_dev_get(&dev, parent, &why);

	if (r) {
		fprintf(stderr, "%s\n", why);
		return r;
	}
	vdpa_check_pins(&dev, false);
	/* What the model would sleep for, the clock would count */
	mlx5_mock_set("async_us", 0);
	r = bench(&dev, n);
	vdpa_dev_put(&dev);

	return r;
}

static const struct {
	const char *name;
	bench_fn bench;
	bool queues;		/* how many, and not how much */
	bool resumable;		/* suspended queues can go on */
} benches[] = {
	{ .name = "reset", .bench = bench_reset },
	{ .name = "plug", .bench = bench_plug },
	{ .name = "first-map", .bench = bench_first_map },
	{ .name = "queues", .bench = bench_queues, .queues = true },
	{ .name = "resumable-queues", .bench = bench_queues, .queues = true, .resumable = true },
};

static int run_all(unsigned int which, int argc, char **argv)
{
	struct vdpa_parent parent = MLX5_NET;
	const char *why;
	int i, r;

	r = vdpa_load_parent(&parent, &why);
	if (r) {
		fprintf(stderr, "%s\n", why);
		return r;
	}
	if (benches[which].resumable)
		r = mlx5_mock_set_firmware("freeze_to_rdy", 1);
	for (i = 0; !r && i < argc; i++) {
		unsigned int n = strtoul(argv[i], NULL, 10);

		parent.vq_pairs = benches[which].queues ? n / 2 : 0;
		r = run(&parent, benches[which].bench, n);
	}
	if (benches[which].resumable)
		mlx5_mock_set_firmware("freeze_to_rdy", 0);

	return r;
}

int main(int argc, char **argv)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	unsigned int i;
	int r;

	for (i = 0; i < ARRAY_SIZE(benches); i++)
		if (argc > 2 && !strcmp(argv[1], benches[i].name))
			break;
	if (i == ARRAY_SIZE(benches)) {
		fprintf(stderr, "Usage: %s reset MiB... | plug REGIONS... | first-map GiB...\n",
			argv[0]);
		fprintf(stderr, "       %s [resumable-]queues N...\n", argv[0]);
		return 2;
	}
	/* Pinned memory is charged against it */
	if (setrlimit(RLIMIT_MEMLOCK, &unlimited)) {
		perror("RLIMIT_MEMLOCK");
		return 1;
	}
	r = run_all(i, argc - 2, argv + 2);
	if (r)
		fprintf(stderr, "%s: %s\n", argv[0], strerror(-r));

	return !!r;
}
