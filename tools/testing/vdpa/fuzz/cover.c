// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel says about where it has been (KCOV), as libFuzzer's counters of
 * edges, and as a list of all places.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kcov.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "util.h"

#define ENTRIES		(1UL << 18)
#define EDGES		(1U << 15)
#define OUTCOMES	(1U << 12)
#define PLACES		(1U << 14)	/* more than twice of what there is */

/* libFuzzer looks for this section */
__attribute__((used, section("__libfuzzer_extra_counters")))
static uint8_t edges[EDGES];
/* What came of operations, so that inputs are kept that have something else come of them */
__attribute__((used, section("__libfuzzer_extra_counters")))
static uint8_t outcomes[OUTCOMES];

static uint64_t *trace;
static uint64_t places[PLACES];

void cover_init(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	if (ioctl(fd, KCOV_INIT_TRACE, ENTRIES)) {
		perror("KCOV_INIT_TRACE");
		exit(1);
	}
	trace = mmap(NULL, ENTRIES * sizeof(*trace), PROT_READ | PROT_WRITE,
		     MAP_SHARED, fd, 0);
	if (trace == MAP_FAILED || ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC)) {
		perror("KCOV_ENABLE");
		exit(1);
	}
}

static uint64_t mix(uint64_t x)
{
	return (x * 0x9e3779b97f4a7c15ULL) >> 20;
}

static void add_place(uint64_t pc)
{
	unsigned int i = mix(pc) % PLACES;

	while (places[i] && places[i] != pc)
		i = (i + 1) % PLACES;
	places[i] = pc;
}

void cover_outcome(const char *what, int result)
{
	uint64_t hash = result;

	/* The first word is enough */
	while (*what && *what != ' ')
		hash = mix(hash + *what++);
	outcomes[hash % OUTCOMES] = 1;
}

void cover_take(void)
{
	uint64_t n, i, prev = 0;
	uint8_t *edge;

	if (!trace)
		return;
	n = __atomic_load_n(&trace[0], __ATOMIC_RELAXED);
	for (i = 1; i <= n && i < ENTRIES; i++) {
		edge = &edges[mix(trace[i] ^ prev << 1) % EDGES];
		if (*edge != UINT8_MAX)
			++*edge;
		if (trace[i] != prev)
			add_place(trace[i]);
		prev = trace[i];
	}
	__atomic_store_n(&trace[0], 0, __ATOMIC_RELAXED);
}

/* Where the code of a module is, by section; 0 if there is none */
static uint64_t section_start(const char *module, const char *section)
{
	char path[300], text[32];

	snprintf(path, sizeof(path), "/sys/module/%s/sections/%s", module, section);

	return read_file(path, text, sizeof(text)) ? 0 : strtoull(text, NULL, 16);
}

static const char *const modules[] = {
	"vhost_vdpa", "vhost_iotlb", "vhost", "vdpa_sim", "vdpa_sim_net",
};

/* What is cold is in the second one */
static const char *const sections[] = { ".text", ".text.unlikely" };

#define SECTIONS	10
#define MODULE(_i)	modules[(_i) / 2]
#define SECTION(_i)	sections[(_i) % 2]

/* A section ends, at the latest, where the next one begins */
static uint64_t section_size(const uint64_t starts[SECTIONS], unsigned int i)
{
	uint64_t size = 1 << 20;
	unsigned int j;

	for (j = 0; j < SECTIONS; j++)
		if (starts[j] > starts[i] && starts[j] - starts[i] < size)
			size = starts[j] - starts[i];

	return size;
}

/* A line "MODULE SECTION OFFSET" for each place */
void cover_write(const char *path)
{
	uint64_t starts[SECTIONS], size;
	unsigned int i, j;
	FILE *file;

	if (!trace)
		return;
	file = fopen(path, "we");
	if (!file) {
		perror(path);
		return;
	}
	for (i = 0; i < SECTIONS; i++)
		starts[i] = section_start(MODULE(i), SECTION(i));
	for (i = 0; i < SECTIONS; i++) {
		size = section_size(starts, i);
		for (j = 0; starts[i] && j < PLACES; j++)
			if (places[j] - starts[i] < size)
				fprintf(file, "%s %s %llx\n", MODULE(i), SECTION(i),
					(unsigned long long)(places[j] - starts[i]));
	}
	fclose(file);
}
