/* SPDX-License-Identifier: GPL-2.0 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* One sequence of operations on a device that nobody has open; aborts if it is wrong */
void fuzz_one(const uint8_t *data, size_t size);
/*
 * The device. In the environment, FUZZ_PARENT is "set_map" or "dma_map", FUZZ_FACTS are
 * words for what is different in this kernel, and FUZZ_TRACE has it say all that it does.
 */
void fuzz_init(void);
unsigned long fuzz_sequences(void);
unsigned long fuzz_operations(void);
/* A line of what was done, and how much of it was to fail, and did */
void fuzz_report(void);

/* Of an input: what comes before the first operation, and each operation */
#define FUZZ_HEAD	2
#define FUZZ_OP		4
#define FUZZ_MAX_OPS	32

/* The edges that the kernel has taken for this thread, if it tells */
void cover_init(void);
void cover_take(void);
/* What an operation has ended in counts as well */
void cover_outcome(const char *what, int result);
void cover_write(const char *path);

#endif
