/* SPDX-License-Identifier: GPL-2.0 */
/* Memory, and the kernel's own account of pinned pages */
#ifndef SELFTEST_VDPA_MEM_H
#define SELFTEST_VDPA_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages that are pinned in the whole system, and by the caller's memory */
long pins_in_system(void);
long pins_of_process(void);
/*
 * A system that does other things than to test pins for them, too: have the
 * first of the above be the second
 */
void pins_ignore_others(void);
/* Pages that were pinned since boot, unpinned since or not */
long pins_ever(void);

/* Physical address of what is at @addr, which must be in memory; 0 if unknown */
uint64_t phys_addr(const void *addr);
/* Will what is there be written back? -1: can't tell */
int phys_dirty(uint64_t pa);

/*
 * Memory in pages of 4 KiB that do not follow each other, in an order that is
 * always the same; NULL if there is not enough
 */
void *shuffled_alloc(size_t size);
/*
 * The same, but no more than 64 MiB of memory, which is there over and over, and
 * shared; @size is a multiple of that
 */
#define ALIAS_SIZE	(64UL << 20)
void *alias_alloc(size_t size);

/* Zeroed memory, aligned, and in huge pages if there are any; NULL if not enough */
#define HUGE_SIZE	(2UL << 20)
void *huge_alloc(size_t size);

/* The kernel's hugetlb of this size, which is put back at the end */
#define HUGE_POOL	"/sys/kernel/mm/hugepages/hugepages-2048kB/"
/* Have so much memory of hugetlb that nobody else was promised, if there is enough */
void hugetlb_provide(size_t size);
/*
 * A file in memory, of hugetlb or of huge pages if there are any, or -1; and a mapping
 * of it, @shift bytes behind an aligned address, or NULL
 */
int huge_file(size_t size, bool hugetlb);
void *huge_map(int fd, size_t size, int flags, size_t shift);
/* Is it in huge pages, by a look at the first and at the last? */
bool is_huge(const char *mem, size_t size);

#endif
