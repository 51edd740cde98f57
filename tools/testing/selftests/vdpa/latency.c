// SPDX-License-Identifier: GPL-2.0
/*
 * Not a test: how long others have to wait for the CPU while a client maps and
 * unmaps single pages, a million of them by default.
 *
 * A thread of the highest priority sleeps and looks how late it wakes up. How
 * late it can be is what the kernel is busy with at the time: with interrupts or
 * preemption off, or, where only cond_resched() preempts the kernel, without
 * calling that. It takes one CPU, or the thread runs on another one.
 *
 * One "key=value ..." line per phase, for programs to read. Times are in ns of
 * the monotonic clock; in a virtual machine whose clock counts instructions
 * (qemu -icount shift=0) they are instructions.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest.h"
#include "lib/client.h"
#include "lib/dev.h"
#include "lib/io.h"
#include "lib/mem.h"

#define PAGE		4096UL
#define MIB		0x100000UL
#define IOVA		BIT_ULL(32)
#define PLUG_IOVA	BIT_ULL(31)
#define SEC_NS		1000000000ULL
/* How long the thread sleeps */
#define PERIOD_NS	20000ULL

/* What VDUSE, and vhost-vdpa for it, hold if they are not told otherwise */
#define VDUSE_MAX	2048

static const struct parent {
	const char *name;
	struct vdpa_parent p;
} parents[] = {
	{ "set_map", SIM_NET(true) },
	{ "dma_map", SIM_NET(false) },
	{ "mlx5", MLX5_NET },
	{ "vduse", VDUSE_BLK_ENTRIES(VDUSE_MAX) },
};

/* Pages of a file that are apart in it, as far as VDUSE takes them */
static void *file_pages(size_t size)
{
	int fd = memfd_create("latency", MFD_CLOEXEC);
	char *p;
	size_t i;

	p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fd < 0 || ftruncate(fd, size) || p == MAP_FAILED)
		return NULL;
	for (i = 0; i < size; i += PAGE)
		if (mmap(p + i, PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, size - PAGE - i) ==
		    MAP_FAILED)
			return NULL;
	close(fd);

	return p;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * SEC_NS + ts.tv_nsec;
}

/* The thread's, and set to 0 between phases */
static uint64_t latest;

static void set_latest(uint64_t ns)
{
	__atomic_store_n(&latest, ns, __ATOMIC_RELAXED);
}

static uint64_t get_latest(void)
{
	return __atomic_load_n(&latest, __ATOMIC_RELAXED);
}

static void *watch(void *arg)
{
	uint64_t late, next = now_ns();
	struct timespec ts;

	for (;;) {
		next += PERIOD_NS;
		ts.tv_sec = next / SEC_NS;
		ts.tv_nsec = next % SEC_NS;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
		late = now_ns() - next;
		if (late > get_latest())
			set_latest(late);
		next += late;
	}

	return arg;
}

static int start_watching(void)
{
	struct sched_param param = { .sched_priority = 99 };
	cpu_set_t cpu;
	pthread_attr_t attr;
	pthread_t thread;

	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu))
		return -errno;

	pthread_attr_init(&attr);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &param);

	return -pthread_create(&thread, &attr, watch, NULL);
}

static const char *label;

/* What came since the last call is this phase of the session */
static void print(const char *parent, size_t size, const char *phase)
{
	printf("latency modules=%s parent=%s ranges=%zu phase=%s ns_max=%llu\n",
	       label, parent, size / PAGE, phase, (unsigned long long)get_latest());
	fflush(stdout);
	set_latest(0);
}

/* In a batch: without, the base builds the whole table anew for each page */
static int map_all(struct vdpa_client *c, void *mem, size_t size)
{
	return client_batch(c, 0, true) ?:
	       client_map_at(c, 0, IOVA, mem, size) ?:
	       client_batch(c, 0, false);
}

static int session(struct vdpa_client *c, const struct vdpa_dev *dev,
		   const char *parent, void *mem, size_t size)
{
	int r;

	r = client_open(c, dev, 0);
	if (!r)
		r = client_ack(c, F_BASIC) ?: client_map(c) ?: client_start(c);
	if (r)
		return r;

	set_latest(0);
	r = map_all(c, mem, size);
	if (!r)
		r = client_io(c, IO_TIMEOUT_MS);
	if (r)
		return r;
	print(parent, size, "map");

	r = client_map_at(c, 0, PLUG_IOVA, mem, PAGE);
	if (r)
		return r;
	print(parent, size, "plug");

	r = client_unmap_at(c, 0, PLUG_IOVA, PAGE);
	set_latest(0);
	if (!r)
		r = client_unmap_at(c, 0, IOVA, size);
	if (r)
		return r;
	print(parent, size, "unmap");

	r = map_all(c, mem, size);
	if (r)
		return r;
	set_latest(0);
	/* The mappings go, as it did not acknowledge that they stay */
	r = client_reset(c);
	if (r)
		return r;
	print(parent, size, "reset");

	r = client_unmap_at(c, 0, 0, 0);
	if (!r)
		r = map_all(c, mem, size);
	if (r)
		return r;
	set_latest(0);
	client_close(c);
	print(parent, size, "close");

	return 0;
}

static int measure(const struct parent *parent, size_t size)
{
	struct vdpa_client c = { .fd = -1 };
	struct vdpa_dev dev;
	const char *why = "";
	void *mem;
	int r;

	r = vdpa_dev_get(&dev, &parent->p, &why);
	if (r) {
		fprintf(stderr, "latency: %s\n", why);
		return r;
	}
	vdpa_check_pins(&dev, false);

	/* One entry is for the client's page, one for the page that is plugged */
	if (dev.use_va)
		size = (VDUSE_MAX - 2) * PAGE;
	mem = dev.use_va ? file_pages(size) : alias_alloc(size);
	r = mem ? session(&c, &dev, parent->name, mem, size) : -ENOMEM;
	if (r)
		printf("latency modules=%s parent=%s ranges=%zu error=%d\n",
		       label, parent->name, size / PAGE, r);

	client_close(&c);
	if (mem)
		munmap(mem, size);
	vdpa_dev_put(&dev);

	return r;
}

int main(int argc, char **argv)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	unsigned int i;
	int r = -ENOENT;

	if (argc != 4) {
		fprintf(stderr, "Usage: %s MODULES set_map|dma_map|mlx5|vduse MIB\n"
			"  MODULES  what to call the kernel modules under test\n",
			argv[0]);
		return 2;
	}
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || start_watching()) {
		fprintf(stderr, "latency: not root\n");
		return 4;
	}

	label = argv[1];
	for (i = 0; i < ARRAY_SIZE(parents); i++)
		if (!strcmp(parents[i].name, argv[2]))
			r = measure(&parents[i], strtoul(argv[3], NULL, 0) * MIB);

	return r ? 1 : 0;
}
