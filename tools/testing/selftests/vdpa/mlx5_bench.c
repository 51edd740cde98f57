// SPDX-License-Identifier: GPL-2.0
/*
 * Not a test: what mlx5_vdpa asks of the firmware, and what it costs the CPU, when
 * the virtio device is reset and started again, and when a region of memory is
 * plugged or unplugged. On the model of the firmware (tools/testing/vdpa/mlx5),
 * whose own work is part of the cost: a command costs what checking it takes.
 *
 * One "key=value ..." line per result. Times are in ns of the monotonic clock; in a
 * virtual machine whose clock counts instructions (qemu -icount shift=0) they are
 * instructions, and repeat exactly but for the model's thread, which polls.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "lib/client.h"
#include "lib/dev.h"
#include "lib/io.h"
#include "lib/mlx5_model.h"

#define BULK_IOVA BIT_ULL(32)
#define PLUG_IOVA BIT_ULL(33)

static const struct vdpa_parent mlx5 = MLX5_NET;

struct bench {
	struct vdpa_client c;
	char *mem;
	unsigned int regions;
	size_t stride;		/* in the address space; memory is contiguous */
	size_t size;		/* of a region */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static int bench_map(struct bench *b)
{
	unsigned int i;
	int r = client_batch(&b->c, 0, true);

	if (!r)
		r = client_map(&b->c);
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
	if (!r)
		r = client_unmap_at(&b->c, 0, BULK_IOVA,
				    b->regions * b->stride);

	return r ?: client_batch(&b->c, 0, false);
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

	return r ?: client_start(&b->c);
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
	long commands = mlx5_mock_get("total");
	uint64_t start = now_ns();
	int r = step(b);
	uint64_t end = now_ns();

	if (!r)
		printf("%s n=%u persist=%d commands=%ld ns=%llu\n", what,
		       n, !!(b->c.features & F_PERSIST),
		       mlx5_mock_get("total") - commands,
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
	r = client_open(&b->c, dev, 0);
	if (!r)
		r = client_ack(&b->c, b->c.features);
	if (!r)
		r = bench_map(b);
	if (!r)
		r = client_start(&b->c);

	return r ?: client_io(&b->c, IO_TIMEOUT_MS);
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
	client_close(&b.c);
	munmap(b.mem, (b.regions + 1) * b.size);

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
	client_close(&b.c);
	munmap(b.mem, (b.regions + 1) * b.size);

	return r;
}

int main(int argc, char **argv)
{
	int (*bench)(const struct vdpa_dev *dev, unsigned int n) =
		argc > 2 && !strcmp(argv[1], "reset") ? bench_reset :
		argc > 2 && !strcmp(argv[1], "plug") ? bench_plug : NULL;
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct vdpa_dev dev;
	const char *why;
	int i, r;

	if (!bench) {
		fprintf(stderr, "Usage: %s reset MiB... | plug REGIONS...\n",
			argv[0]);
		return 2;
	}
	/* Pinned memory is charged against it */
	if (setrlimit(RLIMIT_MEMLOCK, &unlimited)) {
		perror("RLIMIT_MEMLOCK");
		return 1;
	}
	r = vdpa_dev_get(&dev, &mlx5, &why);
	if (r) {
		fprintf(stderr, "%s: %s\n", argv[0], why);
		return 1;
	}
	vdpa_check_pins(&dev, false);
	for (i = 2; !r && i < argc; i++)
		r = bench(&dev, strtoul(argv[i], NULL, 10));
	vdpa_dev_put(&dev);
	if (r)
		fprintf(stderr, "%s: %s\n", argv[0], strerror(-r));

	return !!r;
}
