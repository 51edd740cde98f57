// SPDX-License-Identifier: GPL-2.0
/*
 * For clang's libFuzzer. What it needs of the environment:
 *
 * FUZZ_LAST       the resource file of an ivshmem device, to which each input is copied
 *                 before it runs: the host has it if the kernel dies
 * FUZZ_LAST_FILE  instead, a file of the host's, which user-mode Linux writes at once
 * FUZZ_COVER      where to list, at the end, the places in the kernel that were reached
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuzz.h"
#include "util.h"

#define LAST_SIZE	4096

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

static uint8_t *last;
static int last_file = -1;
static uint64_t began, said;

static void say_how_many(const char *what)
{
	unsigned long ms = now_ms() - began;

	printf("%s: %lu sequences, %lu operations, %lu operations a second\n", what,
	       fuzz_sequences(), fuzz_operations(),
	       fuzz_operations() * 1000 / (ms ?: 1));
	fflush(stdout);
}

/* What does not end in order has said how far it was, up to a minute before */
static void say_now_and_then(void)
{
	if (now_ms() - said < 60 * 1000)
		return;
	said = now_ms();
	say_how_many("so far");
}

static void at_end(void)
{
	say_how_many("fuzz");
	if (getenv("FUZZ_COVER"))
		cover_write(getenv("FUZZ_COVER"));
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static void open_last(void)
{
	const char *memory = getenv("FUZZ_LAST"), *path = getenv("FUZZ_LAST_FILE");
	int fd;

	if (memory) {
		fd = open(memory, O_RDWR | O_CLOEXEC);
		must(fd >= 0, memory);
		last = mmap(NULL, LAST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		must(last != MAP_FAILED, memory);
	}
	if (path) {
		last_file = open(path, O_RDWR | O_CLOEXEC);
		must(last_file >= 0, path);
	}
}

static void write_last(const uint8_t *data, uint32_t length)
{
	const struct iovec parts[] = {
		{ &length, sizeof(length) }, { (void *)data, length },
	};

	if (last && length <= LAST_SIZE - sizeof(length)) {
		memcpy(last, &length, sizeof(length));
		memcpy(last + sizeof(length), data, length);
	}
	if (last_file >= 0)
		must(pwritev(last_file, parts, 2, 0) > 0, "the file of the last input");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	open_last();
	fuzz_init();
	cover_init();
	began = now_ms();
	said = began;
	atexit(at_end);

	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	write_last(data, size);
	fuzz_one(data, size);
	say_now_and_then();

	return 0;
}

/* Repeat, drop or move a whole operation: bytes in between would shift the others */
static size_t mutate_ops(uint8_t *data, size_t n, size_t max, unsigned int seed)
{
	uint8_t *op = data + FUZZ_HEAD, tmp[FUZZ_OP];
	size_t a = seed % n, b = seed / 256 % n;

	switch (seed >> 16 & 3) {
	case 0:
		memmove(op + a * FUZZ_OP, op + (a + 1) * FUZZ_OP, (n - a - 1) * FUZZ_OP);
		return n - 1;
	case 1:
		memcpy(tmp, op + a * FUZZ_OP, FUZZ_OP);
		memcpy(op + a * FUZZ_OP, op + b * FUZZ_OP, FUZZ_OP);
		memcpy(op + b * FUZZ_OP, tmp, FUZZ_OP);
		return n;
	default:
		if (n == max)
			return n;
		memcpy(tmp, op + b * FUZZ_OP, FUZZ_OP);
		memmove(op + (a + 1) * FUZZ_OP, op + a * FUZZ_OP, (n - a) * FUZZ_OP);
		memcpy(op + a * FUZZ_OP, tmp, FUZZ_OP);
		return n + 1;
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	size_t n = size > FUZZ_HEAD ? (size - FUZZ_HEAD) / FUZZ_OP : 0;

	if (n && seed >> 24 & 1)
		return FUZZ_HEAD + FUZZ_OP *
		       mutate_ops(data, n, (max - FUZZ_HEAD) / FUZZ_OP, seed);

	return LLVMFuzzerMutate(data, size, max);
}
