// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem.h"
#include "util.h"

static bool read_pins(long *acquired, long *released)
{
	int error = write_file("/proc/sys/vm/stat_refresh", "1");

	/* A kernel for one processor counts at once, and does not have the file */
	if (error && error != -ENOENT)
		return false;
	*acquired = read_key("/proc/vmstat", "nr_foll_pin_acquired ");
	*released = read_key("/proc/vmstat", "nr_foll_pin_released ");

	return *acquired >= 0 && *released >= 0;
}

/* What is made to fail may be this, but only once */
static void count_pins(long *acquired, long *released)
{
	if (!read_pins(acquired, released) && !read_pins(acquired, released))
		give_up("cannot tell what is pinned");
}

long pins_ever(void)
{
	long acquired, released;

	count_pins(&acquired, &released);

	return acquired;
}

static bool ignore_others;

void pins_ignore_others(void)
{
	ignore_others = true;
}

long pins_in_system(void)
{
	long acquired, released;

	if (ignore_others)
		return pins_of_process();
	count_pins(&acquired, &released);

	return acquired - released;
}

long pins_of_process(void)
{
	long kib = read_key("/proc/self/status", "VmPin:");

	if (kib < 0)
		give_up("cannot tell what this process has pinned");

	return kib * 1024 / getpagesize();
}

uint64_t phys_addr(const void *addr)
{
	uint64_t entry = 0, page = getpagesize();
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry),
		  (uintptr_t)addr / page * sizeof(entry)) != sizeof(entry))
		entry = 0;
	close(fd);

	return (entry & (BIT_ULL(55) - 1)) * page;
}

int phys_dirty(uint64_t pa)
{
	const uint64_t dirty = BIT_ULL(4);	/* KPF_DIRTY */
	uint64_t flags;
	int fd = open("/proc/kpageflags", O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = pread(fd, &flags, sizeof(flags), pa / getpagesize() * sizeof(flags));
	close(fd);

	return n == sizeof(flags) ? !!(flags & dirty) : -1;
}

/*
 * Memory that is touched in random order is handed out in the order in which
 * it is free, which is mostly one after the other.
 */
void *shuffled_alloc(size_t size)
{
	size_t page = getpagesize(), n = size / page, i, other;
	uint64_t state = 1;
	uint32_t *order, tmp;
	char *mem;

	order = malloc(n * sizeof(*order));
	if (!order)
		return NULL;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED) {
		free(order);
		return NULL;
	}
	madvise(mem, size, MADV_NOHUGEPAGE);

	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n; i > 1; i--) {
		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		other = (state >> 33) % i;
		tmp = order[i - 1];
		order[i - 1] = order[other];
		order[other] = tmp;
	}
	for (i = 0; i < n; i++)
		mem[order[i] * page] = 1;
	free(order);

	return mem;
}

/* Pages of a file in memory, which are as shuffled as shuffled_alloc()'s */
static int shuffled_memfd(size_t size)
{
	size_t page = getpagesize(), i, n = 0;
	int fd = memfd_create("shuffled", MFD_CLOEXEC);
	char *order, *file;

	if (fd < 0 || ftruncate(fd, size))
		return -1;
	order = shuffled_alloc(size);
	file = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!order || file == MAP_FAILED)
		return -1;
	/* A permutation: the step has no divisor in common with a power of 2 */
	for (i = 0; i < size / page; i++) {
		n = (n + 5003) % (size / page);
		file[n * page] = 1;
	}
	munmap(file, size);
	munmap(order, size);

	return fd;
}

void *alias_alloc(size_t size)
{
	int fd = shuffled_memfd(ALIAS_SIZE);
	char *p = mmap(NULL, size, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t i;

	if (fd < 0 || p == MAP_FAILED)
		return NULL;
	for (i = 0; i < size; i += ALIAS_SIZE)
		if (mmap(p + i, ALIAS_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0) ==
		    MAP_FAILED)
			return NULL;
	close(fd);

	return p;
}

void *huge_alloc(size_t size)
{
	char *mem = mmap(NULL, size + HUGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	mem = (char *)(((uintptr_t)mem + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	madvise(mem, size, MADV_HUGEPAGE);

	return memset(mem, 0, size);
}

static long read_pool(const char *file)
{
	char path[128], value[32] = "0";

	snprintf(path, sizeof(path), HUGE_POOL "%s", file);
	read_file(path, value, sizeof(value));

	return strtol(value, NULL, 10);
}

void hugetlb_provide(size_t size)
{
	/* Some that are free are promised to others */
	long missing = size / HUGE_SIZE - read_pool("free_hugepages") +
		       read_pool("resv_hugepages");
	char pages[24];

	if (missing <= 0)
		return;
	snprintf(pages, sizeof(pages), "%ld", read_pool("nr_hugepages") + missing);
	write_file(HUGE_POOL "nr_hugepages", pages);
}

int huge_file(size_t size, bool hugetlb)
{
	int fd = memfd_create("huge", MFD_CLOEXEC |
			      (hugetlb ? MFD_HUGETLB | MFD_HUGE_2MB : 0));

	if (hugetlb)
		hugetlb_provide(size);
	else
		write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise");
	if (fd >= 0 && ftruncate(fd, size)) {
		close(fd);
		fd = -1;
	}

	return fd;
}

/*
 * In pieces, which are one VMA for all memory but hugetlb. 6.1 complains with lockdep
 * when a VMA of hugetlb is split, which tests would do otherwise.
 */
static bool map_pieces(char *mem, size_t size, int flags, int fd)
{
	size_t at, piece;

	for (at = 0; at < size; at += piece) {
		piece = size - at < HUGE_SIZE ? size - at : HUGE_SIZE;
		if (mmap(mem + at, piece, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd,
			 at) == MAP_FAILED)
			return false;
	}

	return true;
}

void *huge_map(int fd, size_t size, int flags, size_t shift)
{
	char *mem = mmap(NULL, size + 2 * HUGE_SIZE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	mem = (char *)(((uintptr_t)mem + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1)) + shift;
	if (!map_pieces(mem, size, flags, fd))
		return NULL;
	madvise(mem, size, MADV_HUGEPAGE);

	return mem;
}

bool is_huge(const char *mem, size_t size)
{
	const size_t page = getpagesize(), at[] = { 0, size - HUGE_SIZE };
	uint64_t pa, end;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		pa = phys_addr(mem + at[i]);
		end = phys_addr(mem + at[i] + HUGE_SIZE - page);
		if (!pa || pa % HUGE_SIZE || end != pa + HUGE_SIZE - page)
			return false;
	}

	return true;
}
