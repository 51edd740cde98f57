// SPDX-License-Identifier: GPL-2.0
/*
 * Not a test: what it costs to map and to unmap memory of each kind, to a
 * simulator that is told in either way, or to mlx5_vdpa on the model of its
 * firmware. A figure is printed only if the memory is what it is called, and the
 * device still works with it mapped, and after a reset.
 *
 * One "key=value ..." line per figure, for programs to read. Times are in ns of
 * the monotonic clock; in a virtual machine whose clock counts instructions
 * (qemu -icount shift=0) they are instructions. That they repeat is up to the
 * reader: min and max are there to be compared.
 *
 * What can't be told apart: faulting pages in, zeroing them and marking them
 * dirty for the first time are not measured, as each round but the first, which
 * does not count, finds them so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest.h"
#include "lib/client.h"
#include "lib/dev.h"
#include "lib/io.h"
#include "lib/mem.h"
#include "lib/supervise.h"

#define PAGE	4096UL
#define MIB	0x100000UL
#define IOVA	BIT_ULL(32)

/* Rounds that count */
static unsigned int rounds = 3;

static const struct parent {
	const char *name;
	struct vdpa_parent p;
} parents[] = {
	{ "set_map", SIM_NET(true) },
	{ "dma_map", SIM_NET(false) },
	{ "mlx5", MLX5_NET },
};

struct cost {
	uint64_t min;
	uint64_t max;
};

struct kind {
	const char *name;
	void *(*alloc)(size_t size);
	bool huge;
};

static void *alloc(size_t size, int flags, int fd, int advice)
{
	char *p = huge_map(fd, size, flags, 0);
	size_t i;

	if (!p)
		return NULL;
	madvise(p, size, advice);
	for (i = 0; i < size; i += PAGE)
		p[i] = 1;

	return p;
}

static void *alloc_small(size_t size)
{
	return alloc(size, MAP_PRIVATE | MAP_ANONYMOUS, -1, MADV_NOHUGEPAGE);
}

static void *alloc_thp(size_t size)
{
	return alloc(size, MAP_PRIVATE | MAP_ANONYMOUS, -1, MADV_HUGEPAGE);
}

static void *alloc_hugetlb(size_t size)
{
	hugetlb_provide(size);

	/* NULL if that did not give enough */
	return alloc(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
		     MAP_HUGE_2MB, -1, MADV_NORMAL);
}

static void *alloc_memfd(size_t size)
{
	int fd = huge_file(size, false);
	void *p;

	if (fd < 0)
		return NULL;
	p = alloc(size, MAP_SHARED, fd, MADV_HUGEPAGE);
	close(fd);

	return p;
}

static const struct kind kinds[] = {
	{ "4k", alloc_small, false },
	{ "shuffled", shuffled_alloc, false },
	{ "alias", alias_alloc, false },
	{ "thp", alloc_thp, true },
	{ "hugetlb", alloc_hugetlb, true },
	{ "memfd", alloc_memfd, true },
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* One round; the device runs, and is reset with everything mapped */
static int round_trip(struct vdpa_client *c, void *mem, size_t size,
		      uint64_t *map, uint64_t *unmap)
{
	uint64_t start;
	int r;

	start = now_ns();
	r = client_map_at(c, 0, IOVA, mem, size);
	*map = now_ns() - start;
	if (!r)
		r = client_io(c, IO_TIMEOUT_MS);
	if (!r && c->features & F_PERSIST) {
		r = client_reset(c) ?: client_start(c);
		if (!r)
			r = client_io(c, IO_TIMEOUT_MS);
	}
	if (r)
		return r;

	start = now_ns();
	r = client_unmap_at(c, 0, IOVA, size);
	*unmap = now_ns() - start;

	return r ?: client_io(c, IO_TIMEOUT_MS);
}

static void account(struct cost *cost, uint64_t ns)
{
	cost->min = cost->max && cost->min < ns ? cost->min : ns;
	cost->max = cost->max > ns ? cost->max : ns;
}

static void print(const char *label, const struct parent *parent,
		  const struct kind *kind, size_t size, const char *phase,
		  const struct cost *cost)
{
	struct utsname uts;

	uname(&uts);
	printf("map_perf kernel=%s modules=%s parent=%s memory=%s mib=%zu ",
	       uts.release, label, parent->name, kind->name, size / MIB);
	printf("phase=%s ns_min=%llu ns_max=%llu ns_per_page=%.1f\n", phase,
	       (unsigned long long)cost->min, (unsigned long long)cost->max,
	       (double)cost->min / (size / PAGE));
	fflush(stdout);
}

static int measure(const char *label, const struct parent *parent,
		   const struct kind *kind, size_t size)
{
	struct cost map = {}, unmap = {};
	uint64_t map_ns, unmap_ns;
	struct vdpa_client c = { .fd = -1 };
	struct vdpa_dev dev;
	const char *why = "";
	unsigned int i;
	void *mem;
	int r;

	r = vdpa_dev_get(&dev, &parent->p, &why);
	if (r) {
		fprintf(stderr, "map_perf: %s\n", why);
		return r;
	}
	vdpa_check_pins(&dev, false);

	mem = kind->alloc(size);
	r = !mem ? -ENOMEM : kind->huge && !is_huge(mem, size) ? -EMEDIUMTYPE :
	    client_open(&c, &dev, 0);
	if (!r)
		r = client_ack(&c, F_BASIC | (c.features & F_PERSIST));
	if (!r)
		r = client_map(&c) ?: client_start(&c);
	for (i = 0; !r && i <= rounds; i++) {
		r = round_trip(&c, mem, size, &map_ns, &unmap_ns);
		if (r || !i)
			continue;
		account(&map, map_ns);
		account(&unmap, unmap_ns);
	}
	if (!r) {
		print(label, parent, kind, size, "map", &map);
		print(label, parent, kind, size, "unmap", &unmap);
	} else {
		printf("map_perf modules=%s parent=%s memory=%s mib=%zu error=%d\n",
		       label, parent->name, kind->name, size / MIB, r);
	}

	client_close(&c);
	if (mem)
		munmap(mem, size);
	vdpa_dev_put(&dev);

	return r;
}

static const struct kind *find_kind(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];

	return NULL;
}

static const struct parent *find_parent(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(parents); i++)
		if (!strcmp(parents[i].name, name))
			return &parents[i];

	return NULL;
}

static int usage(const char *name)
{
	unsigned int i;

	fprintf(stderr, "Usage: %s [-r ROUNDS] MODULES set_map|dma_map|mlx5 MEMORY MIB...\n"
		"  MODULES  what to call the kernel modules under test\n"
		"  MEMORY   one of:", name);
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		fprintf(stderr, " %s", kinds[i].name);
	fprintf(stderr, "\n");

	return 2;
}

static int run(int argc, char **argv)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	const struct parent *parent;
	const struct kind *kind;
	int i, r = 0;

	if (argc > 2 && !strcmp(argv[1], "-r")) {
		rounds = atoi(argv[2]);
		argc -= 2;
		argv += 2;
	}
	parent = argc > 4 ? find_parent(argv[2]) : NULL;
	kind = argc > 4 ? find_kind(argv[3]) : NULL;
	if (!parent || !kind)
		return usage(argv[0]);
	if (setrlimit(RLIMIT_MEMLOCK, &limit)) {
		fprintf(stderr, "map_perf: not root\n");
		return 4;
	}

	for (i = 4; i < argc; i++)
		r = measure(argv[1], parent, kind, atol(argv[i]) * MIB) ?: r;

	return r ? 1 : 0;
}

int main(int argc, char **argv)
{
	return vdpa_supervise(run, argc, argv);
}
