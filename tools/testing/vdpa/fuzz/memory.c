// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem.h"
#include "memory.h"
#include "reach.h"
#include "util.h"

#define PAGE		4096UL
#define BLOCK_PAGES	64

static struct reach *block;
static uint64_t block_pfn[BLOCK_PAGES];
static uint8_t block_order[WINDOW_BLOCK];	/* which of them are in the window */
static uint8_t *window, *alias;
static bool has_alias = true;
static unsigned int alias_page[2];
static uint64_t ring, ring_end;
static int file = -1, pagemap = -1;

/* Of the pages behind those of the block */
static int prot[WINDOW_PAGES];
static unsigned int file_pages = WINDOW_FILE;
static bool changed;

/* Pages that are not of the block, while they are pinned */
#define OTHERS		64
static struct other {
	uint64_t pfn;		/* 0: none */
	uint64_t addr;		/* where it was found */
	bool known;
	uint8_t content[PAGE];
} others[OTHERS];
static bool block_is_unknown[BLOCK_PAGES];
static uint8_t zeroes[PAGE];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void must_map(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	if (mmap(at, size, protection, flags | MAP_FIXED, fd, offset) == MAP_FAILED)
		die("mmap");
}

static uint64_t read_pfn(uint64_t addr)
{
	uint64_t entry = 0;

	if (pread(pagemap, &entry, sizeof(entry), addr / PAGE * sizeof(entry)) != sizeof(entry))
		return 0;

	return entry & (BIT_ULL(55) - 1);
}

static long block_page(uint64_t pfn)
{
	long i;

	for (i = 0; i < BLOCK_PAGES; i++)
		if (block_pfn[i] == pfn)
			return i;

	return -1;
}

static long window_page(uint64_t addr)
{
	uint64_t page = (addr - (uintptr_t)window) / PAGE;

	return page < WINDOW_PAGES ? (long)page : -1;
}

static long alias_index(uint64_t addr)
{
	uint64_t page = (addr - (uintptr_t)alias) / PAGE;

	return page < ALIAS_PAGES ? (long)page : -1;
}

static bool can_pin(uint64_t addr, bool write)
{
	long page = window_page(addr);

	if (page < 0)
		return (has_alias && alias_index(addr) >= 0) || (addr >= ring && addr < ring_end);
	if (page >= WINDOW_BLOCK + WINDOW_PRIVATE &&
	    page - WINDOW_BLOCK - WINDOW_PRIVATE >= file_pages)
		return false;

	return write ? prot[page] & PROT_WRITE : prot[page] & PROT_READ;
}

static uint64_t pfn(uint64_t addr)
{
	long page = window_page(addr), i = alias_index(addr);

	if (i >= 0)
		return block_pfn[alias_page[i % 2]];

	return page >= 0 && page < WINDOW_BLOCK ? block_pfn[block_order[page]] : read_pfn(addr);
}

struct model_memory memory = { .can_pin = can_pin, .pfn = pfn };

uint64_t memory_addr(unsigned int page)
{
	if (page < WINDOW_PAGES)
		return (uintptr_t)window + page * PAGE;

	return page == WINDOW_PAGES ? (uintptr_t)alias : -PAGE;
}

/* Contents */

static struct other *find_other(uint64_t pfn)
{
	unsigned int i;

	for (i = 0; i < OTHERS; i++)
		if (others[i].pfn == pfn)
			return &others[i];

	return NULL;
}

uint8_t *memory_content(uint64_t pfn)
{
	long page = block_page(pfn);
	struct other *other;

	if (page >= 0)
		return block_is_unknown[page] ? NULL : block->expected + page * PAGE;
	if (pfn == memory.zero_pfn)
		return zeroes;
	other = find_other(pfn);

	return other && other->known ? other->content : NULL;
}

static void remember_page(uint64_t addr)
{
	uint64_t pfn = read_pfn(addr);
	struct other *other;

	if (!pfn || pfn == memory.zero_pfn || find_other(pfn))
		return;
	other = find_other(0);
	if (!other)
		return;
	/* What the device does to it is to be undone */
	changed = true;
	other->pfn = pfn;
	other->addr = addr;
	other->known = true;
	memcpy(other->content, (void *)addr, PAGE);
}

void memory_remember(uint64_t addr, uint64_t pages)
{
	long page;

	for (addr &= ~(PAGE - 1); pages; pages--, addr += PAGE) {
		page = window_page(addr);
		if (page >= WINDOW_BLOCK && can_pin(addr, false))
			remember_page(addr);
	}
}

void memory_forget(bool (*pinned)(uint64_t pfn))
{
	struct other *other;

	for (other = others; other < others + OTHERS; other++)
		if (other->pfn && !pinned(other->pfn))
			other->pfn = 0;
}

void memory_is_unknown(uint64_t pfn)
{
	long page = block_page(pfn);
	struct other *other = find_other(pfn);

	if (page >= 0)
		block_is_unknown[page] = true;
	else if (other)
		other->known = false;
}

/* The client has it still, and can read it */
static bool is_seen(const struct other *other)
{
	return can_pin(other->addr, false) && read_pfn(other->addr) == other->pfn;
}

const char *memory_check(void)
{
	struct other *other;
	uint8_t *mem;
	long i;

	for (i = 0; i < BLOCK_PAGES; i++) {
		mem = block->mem + i * PAGE;
		if (block_is_unknown[i])
			memcpy(block->expected + i * PAGE, mem, PAGE);
		else if (memcmp(block->expected + i * PAGE, mem, PAGE))
			return "a page of the block has changed";
		block_is_unknown[i] = false;
	}
	for (other = others; other < others + OTHERS; other++) {
		if (!other->pfn || !is_seen(other))
			continue;
		if (!other->known)
			memcpy(other->content, (void *)other->addr, PAGE);
		else if (memcmp(other->content, (void *)other->addr, PAGE))
			return "a page that is not of the block has changed";
		other->known = true;
	}

	return "";
}

/* Changes */

/* Different in each page, and the same whenever the memory is restored */
static unsigned int serial;

static void fill(uint8_t *page)
{
	unsigned int i;

	serial++;
	for (i = 0; i < PAGE; i++)
		page[i] = (serial * 2654435761U >> 13) + i * (serial | 1);
}

static void map_private(unsigned int page)
{
	must_map(window + page * PAGE, PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	fill(window + page * PAGE);
	prot[page] = PROT_READ | PROT_WRITE;
}

static void map_file(unsigned int page)
{
	must_map(window + page * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file,
		 (page - WINDOW_BLOCK - WINDOW_PRIVATE) * PAGE);
	prot[page] = PROT_READ | PROT_WRITE;
}

static void map_again(unsigned int page)
{
	if (page < WINDOW_BLOCK + WINDOW_PRIVATE)
		map_private(page);
	else
		map_file(page);
}

static void truncate_file(unsigned int pages)
{
	uint8_t page[PAGE];

	if (ftruncate(file, pages * PAGE))
		die("ftruncate");
	for (; file_pages < pages; file_pages++) {
		fill(page);
		if (pwrite(file, page, PAGE, file_pages * PAGE) != PAGE)
			die("pwrite");
	}
	file_pages = pages;
}

static void protect(unsigned int page, int protection)
{
	/* Where something was unmapped there is nothing to protect */
	if (!mprotect(window + page * PAGE, PAGE, protection))
		prot[page] = protection;
}

/* libFuzzer's timer interrupts system calls */
int wait_for(pid_t pid, int *status, int options)
{
	pid_t r;

	do
		r = waitpid(pid, status, options);
	while (r < 0 && errno == EINTR);

	return r < 0 ? -errno : 0;
}

static void fork_and_exit(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	if (pid < 0 || wait_for(pid, NULL, 0))
		die("fork");
}

const char *memory_change(uint8_t what, uint8_t which)
{
	unsigned int page = WINDOW_BLOCK + which % (WINDOW_PRIVATE + WINDOW_FILE);

	changed = true;
	switch (what % 8) {
	case 0:
		munmap(window + page * PAGE, PAGE);
		prot[page] = PROT_NONE;
		return "munmap";
	case 1:
		map_again(page);
		return "mmap";
	case 2:
		madvise(window + page * PAGE, PAGE, MADV_DONTNEED);
		return "MADV_DONTNEED";
	case 3:
		protect(page, PROT_NONE);
		return "mprotect none";
	case 4:
		protect(page, PROT_READ);
		return "mprotect read";
	case 5:
		protect(page, PROT_READ | PROT_WRITE);
		return "mprotect write";
	case 6:
		truncate_file(which % (WINDOW_FILE + 1));
		return "truncate";
	default:
		fork_and_exit();
		return "fork";
	}
}

static void open_pagemap(void)
{
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		die("pagemap");
}

void memory_of_child(void)
{
	close(pagemap);
	open_pagemap();
	has_alias = false;
	changed = true;
}

void memory_was_lent(void)
{
	memset(block_is_unknown, true, sizeof(block_is_unknown));
	changed = true;
}

void memory_restore(void)
{
	static uint8_t *as_it_was;
	unsigned int page;

	if (!as_it_was) {
		as_it_was = malloc(block->size);
		if (!as_it_was)
			die("malloc");
		memcpy(as_it_was, block->mem, block->size);
	}
	memcpy(block->mem, as_it_was, block->size);
	memcpy(block->expected, as_it_was, block->size);
	memset(block_is_unknown, 0, sizeof(block_is_unknown));
	if (!changed)
		return;
	serial = 0;
	truncate_file(0);
	truncate_file(WINDOW_FILE);
	for (page = WINDOW_BLOCK; page < WINDOW_PAGES; page++)
		map_again(page);
	changed = false;
}

/* Rings for those who have them anywhere: for frames, from one to the other, and a command */

/* Where they expect to find what is in this page of the window */
static uint64_t made_up_iova(unsigned int page)
{
	return BIT_ULL(40) + (page - MADE_UP) * PAGE;
}

struct made_up {
	struct vring_desc desc[16];
	struct {
		uint16_t flags, idx, ring[126];
	} avail;
	struct {
		uint16_t flags, idx;
		uint8_t ring[508];
	} used;
	uint8_t data[1024];
};

static_assert(sizeof(struct made_up) == PAGE / 2, "where an input can have them");

static struct made_up *made_up(unsigned int page, unsigned int half)
{
	return (void *)(block->mem + block_order[page] * PAGE + half * PAGE / 2);
}

/* The first request is good, the second one goes on at an address that may be mapped */
static void make_up_frames(void)
{
	const uint64_t frame = made_up_iova(MADE_UP) + offsetof(struct made_up, data);
	const uint64_t room = made_up_iova(MADE_UP + 2) + 64, far = BIT_ULL(32) - 4 * PAGE;
	struct made_up *tx = made_up(MADE_UP, 0), *rx = made_up(MADE_UP, 1);

	*tx = (struct made_up) {
		.desc = { { frame, 128, 0, 0 }, { frame, 64, VRING_DESC_F_NEXT, 2 },
			  { far, 64, 0, 0 } },
		.avail = { .idx = 2, .ring = { 0, 1 } },
	};
	/* To all: behind the header */
	memset(tx->data + sizeof(struct virtio_net_hdr_v1), 0xff, ETH_ALEN);
	*rx = (struct made_up) {
		.desc = { { room, 512, VRING_DESC_F_WRITE, 0 },
			  { room, 64, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 2 },
			  { far, 512, VRING_DESC_F_WRITE, 0 } },
		.avail = { .idx = 2, .ring = { 0, 1 } },
	};
}

static void make_up_command(void)
{
	const uint64_t command = made_up_iova(MADE_UP + 1) + offsetof(struct made_up, data);
	struct made_up *ctrl = made_up(MADE_UP + 1, 0);

	*ctrl = (struct made_up) {
		.desc = { { command, 2, VRING_DESC_F_NEXT, 1 },
			  { command + 2, ETH_ALEN, VRING_DESC_F_NEXT, 2 },
			  { command + 16, 1, VRING_DESC_F_WRITE, 0 } },
		.avail = { .idx = 1 },
		.data = { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 2, 0, 0, 0, 0, 2 },
	};
}

unsigned int memory_made_up_used(void)
{
	return made_up(MADE_UP, 0)->used.idx + made_up(MADE_UP, 1)->used.idx +
	       made_up(MADE_UP + 1, 0)->used.idx;
}

/* Set up */

/* A page that is not right behind @before, with @length - 1 others behind it */
static long find_run(const bool used[], uint64_t before, unsigned int length)
{
	unsigned int n;
	long first, page;

	for (first = 0; first < BLOCK_PAGES; first++) {
		if (block_pfn[first] == before + 1)
			continue;
		for (page = first, n = 0; page >= 0 && !used[page] && n < length; n++)
			page = block_page(block_pfn[page] + 1);
		if (n == length)
			return first;
	}

	return -1;
}

/* Four pages that follow each other, two that don't, and two that do */
static bool choose_pages(void)
{
	static const unsigned int runs[] = { 4, 1, 1, 2 };
	bool used[BLOCK_PAGES] = {};
	unsigned int run, i, n = 0;
	uint64_t before = 0;
	long page;

	for (run = 0; run < 4; run++) {
		page = find_run(used, before, runs[run]);
		if (page < 0)
			return false;
		for (i = 0; i < runs[run]; i++) {
			before = block_pfn[page];
			used[page] = true;
			block_order[n++] = page;
			page = block_page(before + 1);
		}
	}
	/* Of the four, two that don't follow each other, whichever is first */
	alias_page[0] = block_order[1];
	alias_page[1] = block_order[3];

	return true;
}

static void map_block(void)
{
	unsigned int i;

	for (i = 0; i < WINDOW_BLOCK; i++) {
		must_map(window + i * PAGE, PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, block->fd, block_order[i] * PAGE);
		prot[i] = PROT_READ | PROT_WRITE;
	}
	for (i = 0; i < ALIAS_PAGES; i++)
		must_map(alias + i * PAGE, PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, block->fd, alias_page[i % 2] * PAGE);
	/* Children have no use for it, and it takes time to copy */
	madvise(alias, ALIAS_PAGES * PAGE, MADV_DONTFORK);
}

static void *reserve(size_t pages)
{
	/* With nothing before and behind it */
	uint8_t *at = mmap(NULL, (pages + 16) * PAGE, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		die("mmap");

	return at + 8 * PAGE;
}

static uint64_t zero_pfn(void)
{
	volatile uint8_t *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t found;

	if (page == MAP_FAILED)
		die("mmap");
	(void)*page;
	found = read_pfn((uintptr_t)page);
	munmap((void *)page, PAGE);

	return found;
}

bool memory_take_block(struct reach *r)
{
	unsigned int i;

	if (pagemap < 0)
		open_pagemap();
	/* Pages are known by where they are: have them stay there */
	write_file("/proc/sys/vm/compact_unevictable_allowed", "0");
	if (mlock(r->mem, r->size))
		die("mlock");
	for (i = 0; i < BLOCK_PAGES; i++)
		block_pfn[i] = read_pfn((uintptr_t)r->mem + i * PAGE);
	block = r;

	return choose_pages();
}

void memory_init(void *ring_page, uint64_t ring_size)
{
	ring = (uintptr_t)ring_page;
	ring_end = ring + ring_size;
	file = memfd_create("fuzz", MFD_CLOEXEC);
	if (file < 0)
		die("memfd");
	memory.zero_pfn = zero_pfn();

	window = reserve(WINDOW_PAGES);
	alias = reserve(ALIAS_PAGES);
	map_block();
	make_up_frames();
	make_up_command();
	changed = true;
	memory_restore();
}
