/* SPDX-License-Identifier: GPL-2.0 */
/* The client's memory, which can change while it is mapped */
#ifndef FUZZ_MEMORY_H
#define FUZZ_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "model.h"

struct reach;

/*
 * The window: pages of the block of lib/reach.h, some of which follow each other
 * in memory, then private memory, then a file that can be truncated, and nothing.
 */
#define WINDOW_BLOCK	8
#define WINDOW_PRIVATE	4
#define WINDOW_FILE	2
#define WINDOW_PAGES	(WINDOW_BLOCK + WINDOW_PRIVATE + WINDOW_FILE)
/* The first of the pages that say what rings may say, if they are mapped at 1 << 40 */
#define MADE_UP		1
/* Two pages of the block over and over, more often than a table once held */
#define ALIAS_PAGES	2100

extern struct model_memory memory;

/* Have the window on this block, and not if the pages of it don't fit */
bool memory_take_block(struct reach *r);
void memory_init(void *ring_page, uint64_t ring_size);
/* As it was in the beginning */
void memory_restore(void);
/* An address in the window, or of the alias after it, or none of the client's */
uint64_t memory_addr(unsigned int page);
/* How much the device has used of the rings that are in memory since memory_restore() */
unsigned int memory_made_up_used(void);
/* Do something to it; returns what */
const char *memory_change(uint8_t what, uint8_t which);
/*
 * What is in a physical page, as far as the device is concerned: the client may have
 * something else there now. NULL: it is none of the block, or that was remembered
 */
uint8_t *memory_content(uint64_t pfn);
/* Remember what is in the pages of a message that has been written */
void memory_remember(uint64_t addr, uint64_t pages);
/* ... until they are not @pinned any more */
void memory_forget(bool (*pinned)(uint64_t pfn));
/* The device may have written anything to it, until memory_check() */
void memory_is_unknown(uint64_t pfn);
/* Is all that can be seen of it as it should be? "", or what is not */
const char *memory_check(void);

/* In a child, which has its own copies of what is private, and no alias */
void memory_of_child(void);
/* A child that is gone may have changed all that is shared with it */
void memory_was_lent(void);

/* What waitpid() waits for, with these options: 0, or -errno */
int wait_for(pid_t pid, int *status, int options);

#endif
