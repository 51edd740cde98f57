// SPDX-License-Identifier: GPL-2.0
/*
 * One input is one life of /dev/vhost-vdpa-N: operations of four bytes each, decoded
 * so that every byte means something. Whatever they are, the model says what must
 * come of each, and at the end nothing may be left.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "dev.h"
#include "fault.h"
#include "fuzz.h"
#include "io.h"
#include "mem.h"
#include "memory.h"
#include "model.h"
#include "reach.h"
#include "run.h"
#include "supervise.h"
#include "util.h"
#include "virtio.h"

/* Not in the headers of all bases */
#ifndef VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK
#define VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK	0x6
#endif

#define CONFIG_SIZE	256
#define FAULTS		"/sys/kernel/debug/"

struct op {
	uint8_t code, a, b, c;
};

static const struct vdpa_parent parents[] = { SIM_NET(true), SIM_NET(false) };

static struct vdpa_dev dev;
struct vdpa_client client;
struct client_page *pages[MODEL_SPACES];
struct model model;
static struct reach reach;
static long pins;		/* of others */
static bool careful;		/* look at the pins wherever it makes sense */
static unsigned long sequences;
struct counts *counts;

/* What the device has said when nobody had changed it */
static uint64_t device_features;
static uint8_t first_config[CONFIG_SIZE], config[CONFIG_SIZE];
static uint32_t config_size;
static bool unsettled;		/* a device keeps some of it for the next client */
static bool config_is_unknown;	/* the device may have changed it by itself */

/* All of the above that belongs to a device: of the one that is not in use at the moment */
static struct side {
	struct vdpa_dev dev;
	struct vdpa_client client;
	struct client_page *pages[MODEL_SPACES];
	struct model model;
	uint8_t first_config[CONFIG_SIZE], config[CONFIG_SIZE];
	bool unsettled, config_is_unknown;
} other;

static bool is_second;
static bool is_child;		/* of the process that has made the devices */
static struct last_words {	/* of a child, for its parent */
	bool open[2];		/* both devices */
	long kept;		/* pages that are pinned and of no open file */
} *last_words;

static void exchange(void *a, void *b, size_t size)
{
	uint8_t *x = a, *y = b, tmp;

	for (; size; size--, x++, y++) {
		tmp = *x;
		*x = *y;
		*y = tmp;
	}
}

static void change_sides(void)
{
	exchange(&dev, &other.dev, sizeof(dev));
	exchange(&client, &other.client, sizeof(client));
	exchange(pages, other.pages, sizeof(pages));
	exchange(&model, &other.model, sizeof(model));
	exchange(first_config, other.first_config, sizeof(first_config));
	exchange(config, other.config, sizeof(config));
	exchange(&unsettled, &other.unsettled, sizeof(unsettled));
	exchange(&config_is_unknown, &other.config_is_unknown, sizeof(config_is_unknown));
	model.others = model_charged(&other.model);
	is_second = !is_second;
}

/* Do it with both devices */
static void with_both(void (*what)(void))
{
	what();
	change_sides();
	what();
	change_sides();
}

/* What was done, for who reads of a failure */

static char journal[16384];
static size_t journal_length;
static bool loud;

void say(const char *format, ...)
{
	size_t room = sizeof(journal) - journal_length;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(journal + journal_length, room, format, args);
	va_end(args);
	if (loud)
		fputs(journal + journal_length, stdout);
	journal_length += (size_t)n < room ? (size_t)n : room - 1;
}

void wrong(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s%sWRONG (%s): ", loud ? "" : journal, loud ? "" : "\n",
		model.set_map ? "set_map" : "dma_map");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

/*
 * What is different in this kernel. It is told rather than asked, so that what a kernel
 * loses is not taken for one of its properties.
 */
static bool is_fact(const char *fact)
{
	const char *at = getenv("FUZZ_FACTS");
	size_t length = strlen(fact), word;

	for (; at && *at; at += word + strspn(at + word, " ")) {
		word = strcspn(at, " ");
		if (word == length && !memcmp(at, fact, word))
			return true;
	}

	return false;
}

/* Faults: one at a time, which the next operation comes across or not */

static struct fault {
	bool due;
	bool memory;		/* the nth allocation fails, rather than a call ... */
	bool pages;		/* ... of pages, or else of objects */
	enum model_call call;
	unsigned int nth;
	bool armed;
	bool has_come;
} fault;

static struct model before;	/* the operation that has no memory */

static const char *const call_names[CALLS] = {
	[CALL_SET_MAP] = "fail_set_map", [CALL_LOSE_MAP] = "lose_map",
	[CALL_DMA_MAP] = "fail_dma_map", [CALL_DMA_UNMAP] = "fail_dma_unmap",
	[CALL_RESET_MAP] = "fail_reset_map", [CALL_RESET] = "fail_reset",
	[CALL_DESC_GROUP] = "bad_desc_group",
};

/* Does the parent have this call at all, and can it fail? */
static bool parent_has(enum model_call call)
{
	if (is_fact("calls-never-fail"))
		return false;
	switch (call) {
	case CALL_SET_MAP:
	case CALL_LOSE_MAP:
		return model.set_map;
	case CALL_DMA_MAP:
	case CALL_DMA_UNMAP:
		return !model.set_map;
	default:
		return true;
	}
}

static void call_fails(enum model_call call, unsigned int nth)
{
	if (!parent_has(call))
		return;
	fault.due = true;
	fault.memory = false;
	fault.call = call;
	fault.nth = nth;
	say("the next one: call %u of %s\n", nth, call_names[call]);
}

/* Both together are counted differently each time: caches are filled with pages */
static void allocation_fails(bool pages, unsigned int nth)
{
	fault.due = true;
	fault.memory = true;
	fault.pages = pages;
	fault.nth = nth;
	say("the next one: allocation %u of %s\n", nth, pages ? "pages" : "objects");
}

/*
 * Objects are those of caches that are marked with slub_debug=A when the kernel starts.
 * Without, kmemleak's own would be counted as well, and nobody misses these. Objects that
 * cannot wait are among the pages, as there is no way to leave them out.
 */
static void arm_memory(void)
{
	write_file(FAULTS "fail_page_alloc/min-order", fault.pages ? "0" : "32");
	write_file(FAULTS "failslab/ignore-gfp-wait", fault.pages ? "Y" : "N");
	fault_arm(fault.nth);
}

static void init_faults(void)
{
	char marked[16] = "";

	read_file("/sys/kernel/slab/kmalloc-64/failslab", marked, sizeof(marked));
	if (!access(FAULTS "vdpa_sim", F_OK) == is_fact("calls-never-fail") ||
	    fault_init() || marked[0] != '1' ||
	    write_file(FAULTS "failslab/cache-filter", "Y"))
		wrong("this kernel, or its simulator, has no faults on demand");
}

static void fault_begin(void)
{
	fault.armed = fault.due;
	fault.has_come = false;
	if (!fault.due)
		return;
	fault.due = false;
	counts->faults++;
	if (fault.memory) {
		model_copy(&before, &model);
		arm_memory();
		return;
	}
	model.failing = fault.call;
	model.nth = fault.nth;
	if (sim_fail(call_names[fault.call], fault.nth, false))
		wrong("faults cannot be injected");
}

static void fault_end(void)
{
	if (!fault.armed)
		return;
	fault.has_come = fault.memory ? fault_disarm() : sim_fail_stop(call_names[fault.call]);
	counts->came += fault.has_come;
	if (!fault.has_come)
		say("(has not come) ");
}

/* Did it fail for want of memory? The model is as it was before then */
static bool had_no_memory(int returned)
{
	if (!fault.armed || !fault.memory || !fault.has_come || returned != -ENOMEM)
		return false;
	say("(no memory) ");
	counts->no_memory++;
	model_copy(&model, &before);

	return true;
}

void expect(const char *what, int expected, int returned)
{
	say("%s: %d\n", what, returned);
	counts->operations++;
	cover_outcome(what, fault.armed ? returned - 1000 : returned);
	if (expected != returned)
		wrong("%s returned %d (%s), expected %d (%s)", what, returned,
		      strerror(-returned), expected, strerror(-expected));
	if (fault.armed && !fault.memory && fault.has_come == !!model.nth)
		wrong("%s: the call %u of %s has %scome", what, fault.nth,
		      call_names[fault.call], fault.has_come ? "" : "not ");
	fault.armed = false;
	model.nth = 0;
}

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

int do_ioctl(unsigned long cmd, void *arg)
{
	int r;

	fault_begin();
	r = result(ioctl(client.fd, cmd, arg));
	fault_end();

	return r;
}

/* Of what changes nothing if there is no memory for it */
static int expect_ioctl(const char *what, int expected, unsigned long cmd, void *arg)
{
	int r = do_ioctl(cmd, arg);

	expect(what, had_no_memory(r) ? r : expected, r);

	return r;
}

void check_memory(void)
{
	const char *why;

	if (model_is_wild(&model) || model_is_wild(&other.model))
		return;
	why = memory_check();
	if (*why)
		wrong("%s", why);
}

/* Messages */

union message {
	struct vhost_msg v1;
	struct vhost_msg_v2 v2;
	uint8_t bytes[128];	/* longer ones have zeroes behind them */
};

static void encode_msg(const struct model_msg *msg, union message *buf)
{
	struct vhost_iotlb_msg iotlb = {
		.iova = msg->iova,
		.size = msg->size,
		.uaddr = msg->addr,
		.perm = msg->perm,
		.type = msg->type,
	};

	memset(buf, 0, sizeof(*buf));
	buf->v2.type = msg->version;
	if (msg->version == 1) {
		buf->v1.iotlb = iotlb;
	} else {
		buf->v2.asid = msg->asid;
		buf->v2.iotlb = iotlb;
	}
}

static int write_msg(int fd, const union message *buf, size_t len)
{
	ssize_t n = write(fd, buf, len);

	if (n < 0)
		return -errno;

	/* All kernels say that they have taken a whole one, whatever there was */
	return n == sizeof(buf->v2) ? 0 : -EIO;
}

/* Another process, which shares the files and not the memory */

struct strange {
	int fd;
	size_t len;
	union message buf;
};

static int to_stranger[2], from_stranger[2];

static void be_strange(void)
{
	struct strange s;
	int r;

	end_with_parent();
	while (read(to_stranger[0], &s, sizeof(s)) == sizeof(s)) {
		r = write_msg(s.fd, &s.buf, s.len);
		if (write(from_stranger[1], &r, sizeof(r)) != sizeof(r))
			break;
	}
	_exit(0);
}

static void init_stranger(void)
{
	long pid;

	if (pipe(to_stranger) || pipe(from_stranger))
		wrong("no pipes");
	pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		be_strange();
	if (pid < 0)
		wrong("no child");
}

static int write_as_stranger(const union message *buf, size_t len)
{
	struct strange s = { .fd = client.fd, .len = len, .buf = *buf };
	ssize_t n;
	int r;

	if (write(to_stranger[1], &s, sizeof(s)) != sizeof(s))
		wrong("no stranger");
	/* libFuzzer's timer interrupts system calls */
	do
		n = read(from_stranger[0], &r, sizeof(r));
	while (n < 0 && errno == EINTR);
	if (n != sizeof(r))
		wrong("no stranger");

	return r;
}

static bool is_pinned(uint64_t pfn)
{
	return model_pins(&model, pfn) || model_pins(&other.model, pfn);
}

static int model_message_result(const struct model_msg *msg, int r)
{
	uint32_t asid = model_msg_asid(&model, msg);
	int expected;

	if (had_no_memory(r)) {
		model_message_fails(&model, msg);
		return r;
	}
	/* It shows whether it is there */
	if (r != -EINVAL && r != -EPERM && asid < MODEL_SPACES && model.space[asid].may_exist)
		model.space[asid].exists = true;
	expected = model_message(&model, msg);
	if (!expected && msg->type == VHOST_IOTLB_UPDATE)
		memory_remember(msg->addr, (msg->size + msg->addr % PAGE + PAGE - 1) / PAGE);
	memory_forget(is_pinned);

	return expected;
}

static void message(const struct model_msg *msg)
{
	union message buf;
	char what[160];
	int expected, r;

	snprintf(what, sizeof(what),
		 "msg%s v%d len %zu asid %u type %u iova %#llx size %#llx addr %#llx perm %u",
		 msg->stranger ? " of a stranger" : "", msg->version, msg->len, msg->asid,
		 msg->type, (unsigned long long)msg->iova, (unsigned long long)msg->size,
		 (unsigned long long)msg->addr, msg->perm);
	encode_msg(msg, &buf);
	/* It would hit the pipe to who writes it */
	fault.due = fault.due && !(msg->stranger && fault.memory);
	fault_begin();
	r = msg->stranger ? write_as_stranger(&buf, msg->len) :
	    write_msg(client.fd, &buf, msg->len);
	fault_end();
	expected = model_message_result(msg, r);
	cover_outcome(model.in_batch ? "in a batch" : "", msg->type << 8 | -expected);
	expect(what, expected, r);
}

/* Decoding */

static uint64_t decode_iova(uint8_t a)
{
	static const uint64_t bases[] = { 0, BIT_ULL(32) - 4 * PAGE, BIT_ULL(40), -8 * PAGE };

	return bases[a >> 6] + (a >> 3 & 7) * PAGE + (a & 4 ? PAGE / 2 : 0);
}

/* More ranges than a table once held take long, and so are made by few of all inputs */
static uint64_t decode_size(const struct op *op)
{
	static const uint64_t sizes[] = {
		PAGE, PAGE, PAGE, 2 * PAGE, 2 * PAGE, 3 * PAGE, 4 * PAGE, 5 * PAGE,
		8 * PAGE, PAGE / 2, 1, 0, PAGE + 1, ALIAS_PAGES * PAGE, BIT_ULL(63), -1,
	};

	return op->b >> 4 == 13 && (op->b & 15) != WINDOW_PAGES ? 6 * PAGE : sizes[op->b >> 4];
}

static struct model_msg decode_msg(const struct op *op, uint8_t type)
{
	static const uint8_t perms[] = {
		VHOST_ACCESS_RW, VHOST_ACCESS_RO, VHOST_ACCESS_WO, 0,
	};
	static const uint8_t lengths[] = { 72, 72, 72, 72, 72, 40, 39, 80 };
	struct model_msg msg = {
		.version = op->a & 2 ? 1 : 2,
		.len = lengths[op->c >> 2 & 7],
		.asid = op->a & 1,
		.type = type,
		.perm = perms[op->c & 3],
		.iova = decode_iova(op->a),
		.size = decode_size(op),
	};

	msg.addr = memory_addr(op->b & 15) + msg.iova % PAGE;
	switch (op->c >> 5) {
	case 4:
		msg.addr += PAGE / 4;
		break;
	case 7:
		msg.asid += 2;
		break;
	}

	return msg;
}

/* Two kinds of messages come with a fault of their own */
static void msg_fault(const struct op *op, uint8_t type)
{
	enum model_call calls[] = { CALL_SET_MAP, CALL_LOSE_MAP };
	unsigned int i = (op->c >> 5) - 5;

	if (i > 1)
		return;
	if (model.set_map)
		call_fails(calls[i], 1);
	else
		call_fails(type == VHOST_IOTLB_INVALIDATE ? CALL_DMA_UNMAP : CALL_DMA_MAP, 1);
}

static void decoded_msg(const struct op *op, uint8_t type)
{
	struct model_msg msg = decode_msg(op, type);

	msg_fault(op, type);
	message(&msg);
}

static void op_update(const struct op *op)
{
	decoded_msg(op, VHOST_IOTLB_UPDATE);
}

static void op_invalidate(const struct op *op)
{
	decoded_msg(op, VHOST_IOTLB_INVALIDATE);
}

static void op_batch_begin(const struct op *op)
{
	decoded_msg(op, VHOST_IOTLB_BATCH_BEGIN);
}

static void op_batch_end(const struct op *op)
{
	decoded_msg(op, VHOST_IOTLB_BATCH_END);
}

/* Messages that are none: of a type, or with permissions, that are not there */
static void op_odd_msg(const struct op *op)
{
	struct model_msg msg = decode_msg(op, op->b & 15);

	if (op->c & 1)
		msg.version = op->c >> 1 & 7;
	if (op->c & 16)
		msg.perm |= 4;
	msg.len = op->c & 32 ? op->b >> 2 : msg.len;
	message(&msg);
}

static void op_stranger(const struct op *op)
{
	struct model_msg msg = decode_msg(op, VHOST_IOTLB_UPDATE);

	/* The files that it shares are those of the parent */
	if (is_child)
		return;
	msg.stranger = true;
	message(&msg);
}

/* The page of the client's rings and buffers, where the device finds them in this space */
static void ring_page(uint32_t asid, uint8_t type)
{
	/* A client that knows of one space means that */
	bool has_asid = model.acked & BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID);
	const struct model_msg msg = {
		.version = 2, .len = sizeof(struct vhost_msg_v2), .asid = asid, .type = type,
		.perm = VHOST_ACCESS_RW, .iova = RING_IOVA, .size = sizeof(*client.page),
		.addr = (uintptr_t)pages[has_asid ? asid : 0],
	};

	message(&msg);
}

static void op_ring_page(const struct op *op)
{
	ring_page(op->a & 1, op->b & 1 ? VHOST_IOTLB_INVALIDATE : VHOST_IOTLB_UPDATE);
}

static void op_fault(const struct op *op)
{
	counts->operations++;
	if (op->a & 8 || (op->a & 7) == CALLS)
		allocation_fails(op->a & 16, 1 + op->b % 16);
	else
		call_fails(op->a & 7, 1 + op->b % 4);
}

static void check_pins(void)
{
	long must = model_charged(&model) + model_charged(&other.model);
	long charged = pins_of_process(), pinned = pins_in_system() - pins;

	say("pins\n");
	if (charged != must)
		wrong("%ld pages are charged, expected %ld", charged, must);
	must = model_pinned(&model) + model_pinned(&other.model);
	if (pinned != must)
		wrong("%ld pages are pinned, expected %ld", pinned, must);
}

/* What the device keeps from one client to the next, as it was in the beginning */
static void settle(void)
{
	struct vhost_vdpa_config *c = calloc(1, sizeof(*c) + config_size);
	struct vhost_vring_state num = { .num = CLIENT_RING_NUM };
	int fd = open(dev.path, O_RDWR | O_CLOEXEC);

	if (!c || fd < 0 || ioctl(fd, VHOST_SET_OWNER))
		wrong("the device cannot be set up as it was");
	for (num.index = 0; num.index < MODEL_RINGS; num.index++) {
		if (ioctl(fd, VHOST_SET_VRING_NUM, &num))
			wrong("the device cannot be set up as it was");
		model_ring_size(&model, num.index, true);
	}
	c->len = config_size;
	memcpy(c->buf, first_config, config_size);
	if (ioctl(fd, VHOST_VDPA_SET_CONFIG, c))
		wrong("the device cannot be set up as it was");
	close(fd);
	free(c);
	memcpy(config, first_config, config_size);
	unsettled = false;
	config_is_unknown = false;
}

/* The life of the file */

static void op_open(const struct op *op)
{
	int fd, r;

	fault_begin();
	fd = open(dev.path, O_RDWR | O_CLOEXEC);
	r = result(fd);
	fault_end();
	if (fd >= 0)
		client.fd = fd;
	expect("open", had_no_memory(r) ? r : model_open(&model), r);
	memory_forget(is_pinned);
}

static void op_close(const struct op *op)
{
	bool was_running;

	fault_begin();
	close(client.fd);
	fault_end();
	client.fd = -1;
	was_running = model.running;
	model_close(&model);
	/* For that, it needs no memory that it could not do without */
	fault.armed = fault.armed && !fault.memory;
	expect("close", 0, 0);
	check_memory();
	/* What does not stop is not told what to do any more, either, but may be at it */
	if (was_running && !model.status)
		probe_gone();
	memory_forget(is_pinned);
}

/*
 * A driver that is probed asynchronously may not have a link yet when it is told to send,
 * and the kernel drops the frame then, without an error. So it may try twice.
 */
static int virtio_frame(void)
{
	int r = virtio_io(&dev);

	return r == -ETIMEDOUT ? virtio_io(&dev) : r;
}

/* The next owner is a driver of virtio, for which the device must work; then we have it back */
static void op_rebind(const struct op *op)
{
	/* It takes as long as a hundred others. The path may change, which the parent needs */
	if ((op->a & 31) != 17 || is_child)
		return;
	if (model.open)
		op_close(op);
	fault.due = false;
	expect("bind virtio_vdpa", 0, vdpa_bind(&dev, "virtio_vdpa"));
	expect("a frame of virtio_net", 0, virtio_frame());
	model_passed_on(&model);
	check_pins();
	expect("bind vhost_vdpa", 0, vdpa_bind(&dev, "vhost_vdpa"));
	unsettled = true;
	settle();
}

static void op_own(const struct op *op)
{
	int r = do_ioctl(VHOST_SET_OWNER, NULL);

	expect("own", had_no_memory(r) ? r : model_own(&model), r);
}

static void ack(uint64_t features)
{
	int r = do_ioctl(VHOST_SET_BACKEND_FEATURES, &features);

	expect("ack", model_ack(&model, features), r);
}

static void ack_choice(uint8_t choice)
{
	static const uint64_t features[] = {
		F_BASIC | F_PERSIST, F_BASIC, 0, F_PERSIST, F_BASIC | F_PERSIST |
		BIT_ULL(VHOST_BACKEND_F_SUSPEND), BIT_ULL(63), F_BASIC | 1,
		BIT_ULL(VHOST_BACKEND_F_IOTLB_MSG_V2), F_BASIC | F_PERSIST | F_DESC_ASID,
		F_PERSIST | F_DESC_ASID,
	};

	ack(features[choice % 10]);
}

static void op_ack(const struct op *op)
{
	ack_choice(op->a);
}

/* The virtio device */

/* A reset that had no memory to tell the parent once more */
static int reset_without_memory(int r)
{
	model.failing = CALL_SET_MAP;
	model.nth = 1;
	model_status(&model, 0);
	model.nth = 0;

	return r;
}

static bool may_be_told(const struct model_space *space)
{
	return space->unsure || space->may_be_unsure;
}

/* Would it remain unknown of which space a reset that fails could not tell the parent? */
static bool is_unclear(const struct fault *f)
{
	const struct model_space *space = model.space;

	if (f->memory)
		return may_be_told(&space[0]) && may_be_told(&space[1]);

	return (f->call == CALL_SET_MAP || f->call == CALL_LOSE_MAP) &&
	       (space[0].may_be_unsure || space[1].may_be_unsure);
}

int set_status(uint8_t value)
{
	bool was_wild = model_is_wild(&model);
	char what[32];
	int r;

	if (fault.due && !value && is_unclear(&fault))
		fault.due = false;
	snprintf(what, sizeof(what), "status %#x", value);
	r = do_ioctl(VHOST_VDPA_SET_STATUS, &value);
	expect(what, had_no_memory(r) ? reset_without_memory(r) : model_status(&model, value), r);
	if (was_wild)
		check_memory();

	return r;
}

static void op_status(const struct op *op)
{
	static const uint8_t values[] = { 0, 1, 3, 0xb, 0xf, 0x80, 4, 0xb };

	set_status(values[op->a & 7]);
}

static void op_reset(const struct op *op)
{
	set_status(0);
}

int set_features(uint64_t features)
{
	int r = do_ioctl(VHOST_SET_FEATURES, &features);

	expect("features", model_features(&model, features), r);

	return r;
}

static void op_features(const struct op *op)
{
	const uint64_t ctrl = op->a & 8 ? BIT_ULL(VIRTIO_NET_F_CTRL_VQ) : 0;

	set_features(op->a & 1 ? FEATURES | ctrl : op->a & 2 ? 0 : -1ULL);
}

int set_group(uint32_t group, uint32_t asid)
{
	struct vhost_vring_state s = { .index = group, .num = asid };
	int r = do_ioctl(VHOST_VDPA_SET_GROUP_ASID, &s);

	expect("group", model_group(&model, group, asid), r);

	return r;
}

static void op_group(const struct op *op)
{
	set_group(op->a & 3, op->b & 3);
}

/* Rings */

/* What an ioctl of a ring has to say if the ring is there, and its number is good */
static int ring_result(const struct op *op, int r)
{
	if (!model.owned)
		return -EPERM;

	return (op->a & 3) < MODEL_RINGS ? r : -ENOBUFS;
}

/* To go on elsewhere than where it is has the device take what it was not given */
static void ring_base(unsigned int index, uint16_t base)
{
	struct model_ring *ring = &model.ring[index];

	if (ring->set == OURS && base != ring->base)
		ring->set = WILD;
	if (ring->at == OURS && base != ring->base)
		ring->at = WILD;
	model_ring_base(&model, index, base);
}

static void expect_state(const char *what, uint32_t expected, const struct vhost_vring_state *s)
{
	if (s->num != expected)
		wrong("%s of ring %u is %u, expected %u", what, s->index, s->num, expected);
}

/* What comes of it, if it is right */
static void ring_state(unsigned long cmd, const struct vhost_vring_state *s)
{
	uint32_t group = 0;

	switch (cmd) {
	case VHOST_SET_VRING_NUM:
		unsettled = true;
		model_ring_size(&model, s->index, s->num == CLIENT_RING_NUM);
		break;
	case VHOST_SET_VRING_BASE:
		ring_base(s->index, s->num);
		break;
	case VHOST_GET_VRING_BASE:
		if (model.ring[s->index].base_is_known)
			expect_state("the base", model.ring[s->index].base, s);
		break;
	case VHOST_VDPA_SET_VRING_ENABLE:
		model_ring_ready(&model, s->index, s->num);
		break;
	default:
		model_group_of(&model, s->index, cmd != VHOST_VDPA_GET_VRING_GROUP, &group);
		expect_state("the group", group, s);
	}
}

static void op_ring_state(const struct op *op)
{
	static const struct {
		unsigned long cmd;
		uint32_t num;
		int r;
	} choices[] = {
		{ VHOST_SET_VRING_NUM, CLIENT_RING_NUM, 0 },
		{ VHOST_SET_VRING_NUM, 0, -EINVAL },
		{ VHOST_SET_VRING_NUM, 65536, -EINVAL },
		{ VHOST_SET_VRING_NUM, 7, -EINVAL },
		{ VHOST_SET_VRING_BASE, 0, 0 },
		{ VHOST_SET_VRING_BASE, 65535, 0 },
		{ VHOST_SET_VRING_BASE, 65536, -EINVAL },
		{ VHOST_GET_VRING_BASE, 0, 0 },
		{ VHOST_VDPA_SET_VRING_ENABLE, 1, 0 },
		{ VHOST_VDPA_SET_VRING_ENABLE, 0, 0 },
		{ VHOST_VDPA_GET_VRING_GROUP, 0, 0 },
		{ VHOST_VDPA_GET_VRING_DESC_GROUP, 0, 0 },
		{ VHOST_SET_VRING_NUM, 256, 0 },
	};
	unsigned int i = op->b % 13;
	struct vhost_vring_state s = { .index = op->a & 3, .num = choices[i].num };
	int r = do_ioctl(choices[i].cmd, &s), expected = ring_result(op, choices[i].r);
	uint32_t group;

	if (!expected && choices[i].cmd == VHOST_SET_VRING_BASE)
		expected = model_ring_moves(&model);
	if (!expected && choices[i].cmd == VHOST_VDPA_GET_VRING_DESC_GROUP)
		expected = model.offered & F_DESC_ASID ?
			   model_group_of(&model, s.index, true, &group) : -EOPNOTSUPP;
	expect("ring", expected, r);
	if (!r)
		ring_state(choices[i].cmd, &s);
}

static int ring_addr(const struct vhost_vring_addr *addr, int expected)
{
	int r = do_ioctl(VHOST_SET_VRING_ADDR, (void *)addr);

	expect("ring address", expected, r);

	return r;
}

int set_ring_addr(unsigned int ring, uint64_t desc, uint64_t avail, uint64_t used,
		  enum model_place place)
{
	struct vhost_vring_addr addr = {
		.index = ring,
		.desc_user_addr = desc,
		.avail_user_addr = avail,
		.used_user_addr = used,
	};
	int r = ring_addr(&addr, 0);

	model_ring_place(&model, ring, place);

	return r;
}

/* Rings anywhere: what they say then is what is in memory */
static void op_ring_addr(const struct op *op)
{
	uint64_t iova = decode_iova(op->b);
	struct vhost_vring_addr addr = {
		.index = op->a & 3,
		.flags = op->c == 1 ? 2 : 0,
		.desc_user_addr = iova,
		.avail_user_addr = iova + 256 + (op->c == 2),
		.used_user_addr = iova + 512,
	};
	int bad = addr.flags ? -EOPNOTSUPP : op->c == 2 ? -EINVAL : model_ring_moves(&model);

	if (!ring_addr(&addr, ring_result(op, bad)))
		model_ring_place(&model, addr.index, WILD);
}

static void op_ring_file(const struct op *op)
{
	struct vhost_vring_file f = { .index = op->a & 3, .fd = -1 };
	struct model_ring *ring = &model.ring[f.index % MODEL_RINGS];
	bool call = op->b & 4;
	int r = 0;

	switch (op->b & 3) {
	case 0:
	case 1:
		f.fd = call ? client.call[f.index % MODEL_RINGS] :
			      client.kick[f.index % MODEL_RINGS];
		break;
	case 2:
		f.fd = 1000000;
		r = -EBADF;
		break;
	}
	r = expect_ioctl("ring file", ring_result(op, r),
			 call ? VHOST_SET_VRING_CALL : VHOST_SET_VRING_KICK, &f);
	if (r)
		return;
	if (call)
		ring->call = ring->calls = f.fd >= 0;
	else
		ring->kick = f.fd >= 0;
}

static void op_kick(const struct op *op)
{
	say("kick %u\n", op->a % MODEL_RINGS);
	counts->operations++;
	eventfd_write(client.kick[op->a % MODEL_RINGS], 1);
}

/* The configuration */

static void check_config(uint32_t offset, const uint8_t *got, uint32_t len)
{
	const uint16_t status = htole16(VIRTIO_NET_S_LINK_UP);

	memcpy(config + offsetof(struct virtio_net_config, status), &status, sizeof(status));
	if (!config_is_unknown && memcmp(config + offset, got, len))
		wrong("%u bytes of the configuration at %u are others", len, offset);
}

static void check_config_size(void)
{
	uint32_t size = 0;

	expect_ioctl("config size", 0, VHOST_VDPA_GET_CONFIG_SIZE, &size);
	if (size != config_size)
		wrong("the configuration has %u bytes, expected %u", size, config_size);
}

struct config {
	struct vhost_vdpa_config head;
	uint8_t buf[CONFIG_SIZE];
};

static void write_config(struct config *c, uint8_t change, bool fits)
{
	unsigned int i;

	if (fits)
		memcpy(c->buf, config + c->head.off, c->head.len);
	for (i = 0; change & 2 && i < c->head.len; i++)
		c->buf[i] ^= change;
	if (expect_ioctl("set config", fits ? 0 : -EINVAL, VHOST_VDPA_SET_CONFIG, c))
		return;
	unsettled = true;
	memcpy(config + c->head.off, c->buf, c->head.len);
}

/* A fault that is due is for the first one which needs memory: to read, or to write */
static void op_config(const struct op *op)
{
	struct config c = { .head = { .off = op->a & 31, .len = op->b & 63 } };
	bool fits = c.head.len && c.head.off <= config_size &&
		    c.head.len <= config_size - c.head.off;

	if (!fault.due)
		check_config_size();
	if (!(op->c & 16) &&
	    !expect_ioctl("get config", fits ? 0 : -EINVAL, VHOST_VDPA_GET_CONFIG, &c))
		check_config(c.head.off, c.buf, c.head.len);
	if (op->c & 1)
		write_config(&c, op->c, fits);
}

static void get(const char *what, unsigned long cmd, uint64_t expected)
{
	uint64_t value = 0;

	expect_ioctl(what, 0, cmd, &value);
	if (value != expected)
		wrong("%s: it is %#llx, expected %#llx", what, (unsigned long long)value,
		      (unsigned long long)expected);
}

static void op_get(const struct op *op)
{
	struct vhost_vdpa_iova_range range = {};

	get("get id", VHOST_VDPA_GET_DEVICE_ID, VIRTIO_ID_NET);
	get("get features", VHOST_GET_FEATURES, device_features);
	get("get backend features", VHOST_GET_BACKEND_FEATURES, model.offered);
	get("get ring size", VHOST_VDPA_GET_VRING_NUM, 256);
	get("get groups", VHOST_VDPA_GET_GROUP_NUM, model.groups);
	get("get spaces", VHOST_VDPA_GET_AS_NUM, MODEL_SPACES);
	get("get rings", VHOST_VDPA_GET_VQS_COUNT, MODEL_RINGS);
	get("get status", VHOST_VDPA_GET_STATUS, model.status);
	expect_ioctl("get range", 0, VHOST_VDPA_GET_IOVA_RANGE, &range);
	if (range.first || range.last != UINT64_MAX)
		wrong("the range of addresses is another one");
}

static void op_suspend(const struct op *op)
{
	bool resume = op->a & 1 && model.offered & BIT_ULL(VHOST_BACKEND_F_RESUME);
	int r = do_ioctl(resume ? VHOST_VDPA_RESUME : VHOST_VDPA_SUSPEND, NULL);

	if (resume)
		expect("resume", model_resume(&model), r);
	else
		expect("suspend", model_suspend(&model), r);
}

/* What it may pin */

/* What is charged for pages of rings, which do not count for the input */
static uint64_t ring_pages(const struct model *m)
{
	uint64_t pages = 0;
	unsigned int i;
	size_t j;

	for (i = 0; i < MODEL_SPACES; i++)
		for (j = 0; j < m->space[i].mapped.n; j++)
			if (m->space[i].mapped.run[j].iova == RING_IOVA)
				pages++;

	return pages;
}

static void set_limit(uint64_t pages)
{
	struct rlimit limit = { .rlim_max = RLIM_INFINITY };

	limit.rlim_cur = pages < 1000000 ? pages * PAGE : RLIM_INFINITY;
	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		wrong("no limit");
	model.limit = limit.rlim_cur / PAGE;
	other.model.limit = model.limit;
}

static void op_limit(const struct op *op)
{
	static const uint64_t limits[] = { -1ULL, 0, 1, 2, 4, 7, 12, 2101 };

	say("limit %llu\n", (unsigned long long)limits[op->a & 7]);
	counts->operations++;
	set_limit(!(op->a & 7) ? limits[0] :
		  limits[op->a & 7] + ring_pages(&model) + ring_pages(&other.model));
}

static void op_memory(const struct op *op)
{
	say("memory: %s %u\n", memory_change(op->a, op->b), op->b);
	counts->operations++;
}

static void op_pins(const struct op *op)
{
	check_pins();
}

/* What the device reaches */

static void op_probe(const struct op *op)
{
	uint64_t iova = decode_iova(op->a);
	unsigned int flags = (op->b & 4 ? 0 : PROBE_BIND) | (op->b & 8 ? PROBE_APART : 0) |
			     (op->b & 16 ? PROBE_CALLS : 0);

	switch (op->b & 3) {
	case 0:
		probe(op->a & 1, iova, 1, flags);
		break;
	case 1:
		probe(op->a & 1, iova - 1, 1, flags);
		break;
	default:
		/* Not over the end of all addresses */
		probe(op->a & 1, iova - 32 < iova ? iova - 32 : iova, 64, flags);
		break;
	}
}

/* A range that is mapped, if there is one, and not that of the rings */
static bool choose_run(const struct model_runs *runs, unsigned int nth, struct model_run *run)
{
	size_t i, n = 0;

	for (i = 0; i < runs->n; i++)
		n += runs->run[i].iova != RING_IOVA;
	if (!n)
		return false;
	for (i = 0, nth %= n; i < runs->n; i++)
		if (runs->run[i].iova != RING_IOVA && !nth--)
			break;
	*run = runs->run[i];

	return true;
}

/* At the end, the borders of something that is mapped, and of something that was not */
static void last_probe(uint8_t choice)
{
	struct model_run run = { .iova = BIT_ULL(40), .pages = 1 };
	unsigned int flags = PROBE_BIND | PROBE_CALLS;
	uint32_t asid = choice & 1;
	uint64_t end;

	choose_run(&model.space[asid].mapped, choice >> 2 & 7, &run);
	end = run.iova + run.pages * PAGE;
	probe(asid, end - 1, 1, flags);
	if (run.iova)
		probe(asid, run.iova - 32, 64, flags);
	if (end)
		probe(asid, end, 1, flags);
}

/* Most lives begin in the same way, with rings that can be used everywhere */
static void begin(uint8_t head, uint8_t rings)
{
	if (head & 1)
		return;
	op_open(NULL);
	/* A fault may have been due */
	if (head & 2 || !model.open)
		return;
	op_own(NULL);
	ack_choice(head >> 2);
	if (!(rings & 0x80))
		ring_page(0, VHOST_IOTLB_UPDATE);
	if (!(rings & 0x40))
		ring_page(1, VHOST_IOTLB_UPDATE);
}

/* From here on, what is done is done to the other device, which has begun, or begins */
static void op_other(const struct op *op)
{
	say("the other device\n");
	counts->operations++;
	change_sides();
	if (!model.open)
		begin(op->a, op->b);
}

/* As often as they are there */
static void (*const ops[])(const struct op *op) = {
	op_memory, op_limit, op_open,
	/* From here on, on a file that is open */
	op_update, op_update, op_update, op_update, op_update, op_update, op_update,
	op_invalidate, op_invalidate, op_invalidate, op_batch_begin, op_batch_end,
	op_batch_end, op_odd_msg, op_stranger, op_close, op_own, op_ack, op_status,
	op_reset, op_features, op_group, op_ring_state, op_ring_addr, op_ring_file,
	op_kick, op_config, op_get, op_suspend, op_pins, op_probe, op_probe, op_memory,
	op_fault, op_fault, op_fault, op_ring_page, op_probe, op_rebind, op_other,
};

static void mark_space(const struct model_runs *runs)
{
	uint64_t page;
	size_t i;

	for (i = 0; i < runs->n; i++)
		for (page = 0; page < runs->run[i].pages; page++)
			if (runs->run[i].perm & VHOST_ACCESS_WO)
				memory_is_unknown(runs->run[i].pfn + page);
}

/* What a device may have written to that works on rings that the input made up */
static void mark_wild(void)
{
	struct model_ring *ring;
	uint32_t i;

	for (i = 0; i < MODEL_RINGS; i++) {
		ring = &model.ring[i];
		if (!model_ring_is_wild(&model, i))
			continue;
		/* A command may change the address of the device */
		if (i == 2)
			unsettled = config_is_unknown = true;
		ring->base_is_known = false;
		mark_space(&model.space[ring->asid].device);
		mark_space(&model.space[ring->ring_asid].device);
	}
}

static void do_op(const struct op *op)
{
	unsigned int i = op->code % (sizeof(ops) / sizeof(ops[0]));

	/* Faults can be due at an open, too */
	if (i > 2 && !model.open && ops[i] != op_fault && ops[i] != op_rebind &&
	    ops[i] != op_other)
		op_open(op);
	else
		ops[i](op);
	mark_wild();
	cover_take();
}

static void begin_side(void)
{
	eventfd_t n;
	int i;

	for (i = 0; i < MODEL_RINGS; i++) {
		eventfd_read(client.kick[i], &n);
		eventfd_read(client.call[i], &n);
	}
	for (i = 0; i < MODEL_SPACES; i++)
		memset(pages[i], 0, sizeof(*pages[i]));
	if (unsettled)
		settle();
}

/* The same whatever was before, so that each input can be replayed by itself */
static void begin_as_always(void)
{
	journal_length = 0;
	journal[0] = '\0';
	fault.due = false;
	if (is_second)
		change_sides();
	set_limit(-1ULL);
	with_both(begin_side);
	memory_restore();
}

/* What is looked at before the file is closed */
static void look_at_last(uint8_t head, bool pins)
{
	fault.due = false;
	counts->made_up += memory_made_up_used();
	if (pins)
		check_pins();
	if (head & 32)
		return;
	last_probe(head);
	if (!other.model.open)
		return;
	change_sides();
	last_probe(head);
	change_sides();
}

static void end_side(void)
{
	if (model.open)
		op_close(NULL);
}

/* What a device keeps that did not stop is the next one's to let go of */
static void let_go(void)
{
	if (!model_charged(&model))
		return;
	op_open(NULL);
	op_close(NULL);
}

static void end(uint8_t head, bool look)
{
	look_at_last(head, look);
	with_both(end_side);
	check_pins();
	if (model_charged(&model) || model_charged(&other.model)) {
		with_both(let_go);
		check_pins();
	}
	cover_take();
}

/* To count pins takes long: not always more often than once */
static bool is_looked_at(const uint8_t *data, size_t size)
{
	unsigned int sum = 0;

	while (size--)
		sum += data[size];

	return careful || sum % 4 == 0;
}

static void live(const uint8_t *data, size_t size)
{
	size_t at = FUZZ_HEAD, most = FUZZ_HEAD + FUZZ_OP * FUZZ_MAX_OPS;
	struct op op;

	begin_as_always();
	begin(data[0], data[1]);
	for (; at + FUZZ_OP <= size && at < most; at += FUZZ_OP) {
		memcpy(&op, data + at, sizeof(op));
		do_op(&op);
	}
}

/* A client that is a process of its own, and is killed with all that it has */

static void be_killed(const uint8_t *data, size_t size)
{
	is_child = true;
	end_with_parent();
	memory_of_child();
	init_faults();
	live(data, size);
	look_at_last(data[1], true);
	last_words->open[is_second] = model.open;
	last_words->open[!is_second] = other.model.open;
	last_words->kept = (model.open ? 0 : model_pinned(&model)) +
			   (other.model.open ? 0 : model_pinned(&other.model));
	raise(SIGSTOP);
	wrong("a process that was killed goes on");
}

/* Nobody else can open what it has open */
static void open_second(void)
{
	unsettled = true;
	if (last_words->open[is_second])
		expect("open of a second client", -EBUSY,
		       result(open(dev.path, O_RDWR | O_CLOEXEC)));
}

static void let_in(void)
{
	op_open(NULL);
	op_close(NULL);
}

static void live_and_be_killed(const uint8_t *data, size_t size)
{
	int status;
	pid_t pid;

	begin_as_always();
	fflush(stdout);
	pid = fork();
	if (!pid)
		be_killed(data, size);
	if (pid < 0 || wait_for(pid, &status, WUNTRACED) || !WIFSTOPPED(status))
		wrong("the client's process has ended by itself");
	say("a client that is killed\n");
	with_both(open_second);
	if (kill(pid, SIGKILL) || wait_for(pid, &status, 0) || !WIFSIGNALED(status))
		wrong("the client's process cannot be killed");
	pins += last_words->kept;
	check_pins();
	pins -= last_words->kept;
	memory_was_lent();
	check_memory();
	with_both(probe_gone);
	check_memory();
	/* And the next one opens it */
	with_both(let_in);
	check_pins();
	cover_take();
}

void fuzz_one(const uint8_t *data, size_t size)
{
	if (size < FUZZ_HEAD)
		return;
	sequences++;
	if (data[1] & 2) {
		live_and_be_killed(data, size);
		return;
	}
	live(data, size);
	end(data[1], is_looked_at(data, size));
}

static void get_config(int fd)
{
	struct vhost_vdpa_config *c = calloc(1, sizeof(*c) + CONFIG_SIZE);

	if (!c || ioctl(fd, VHOST_GET_FEATURES, &device_features) ||
	    ioctl(fd, VHOST_VDPA_GET_CONFIG_SIZE, &config_size) || config_size > CONFIG_SIZE)
		wrong("the device has no configuration");
	c->len = config_size;
	if (ioctl(fd, VHOST_VDPA_GET_CONFIG, c))
		wrong("the device has no configuration");
	memcpy(first_config, c->buf, config_size);
	free(c);
}

/* What a device is like, which is all that it is believed */
static void ask_device(void)
{
	uint32_t groups = 0;
	int fd = open(dev.path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, VHOST_VDPA_GET_GROUP_NUM, &groups))
		wrong("the device does not open");
	get_config(fd);
	close(fd);
	model.groups = groups;
	model.offered = F_BASIC | BIT_ULL(VHOST_BACKEND_F_SUSPEND) | F_PERSIST |
			/* Rings have a group of their own */
			(groups > 2 ? F_DESC_ASID : 0);
	if (is_fact("offers-resume"))
		model.offered |= BIT_ULL(VHOST_BACKEND_F_RESUME);
	if (is_fact("offers-enable-after-driver-ok"))
		model.offered |= BIT_ULL(VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK);
	model.rings_stay = is_fact("rings-stay");
	model.never_told_again = is_fact("never-told-again");
}

/* As client_open() does it, once for all files */
static void init_client(struct client_page *page)
{
	int i;

	client.fd = -1;
	client.dev = &dev;
	client.device_id = dev.parent->device_id;
	client.nvqs = MODEL_RINGS;
	client.iova = RING_IOVA;
	client.refusals = -1;
	for (i = 0; i < MODEL_SPACES; i++)
		pages[i] = page + i;
	client.page = pages[0];
	for (i = 0; i < CLIENT_RINGS; i++) {
		client.kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		client.call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
}

static void *shared(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_ANONYMOUS | MAP_POPULATE | MAP_SHARED, -1, 0);

	if (at == MAP_FAILED)
		wrong("no memory");

	return at;
}

/* The device has been made by now */
static void init_side(struct client_page *page)
{
	const char *name = getenv("FUZZ_PARENT");

	model.memory = &memory;
	model.set_map = !name || !strcmp(name, "set_map");
	ask_device();
	init_client(page);
}

static void init_devices(struct client_page *page)
{
	const char *name = getenv("FUZZ_PARENT"), *why;
	const struct vdpa_parent *parent = &parents[name && strcmp(name, "set_map")];

	if (vdpa_dev_get(&dev, parent, &why))
		wrong("no device: %s", why);
	if (vdpa_dev_get_second(&other.dev, parent))
		wrong("no second device");
	init_side(page);
	change_sides();
	init_side(page + MODEL_SPACES);
	change_sides();
}

void fuzz_init(void)
{
	struct client_page *page = shared(2 * MODEL_SPACES * sizeof(*page));

	counts = shared(sizeof(*counts));
	last_words = shared(sizeof(*last_words));
	loud = getenv("FUZZ_TRACE");
	careful = getenv("FUZZ_CAREFUL");
	init_stranger();
	/* What was done last is what matters if it ends there */
	if (loud)
		setvbuf(stdout, NULL, _IOLBF, 0);
	init_devices(page);
	/* Those that don't do are kept, or the next one would be of the same pages */
	do {
		if (reach_init(&reach, &client, 64 * PAGE))
			wrong("no memory");
	} while (!memory_take_block(&reach));
	memory_init(page, 2 * MODEL_SPACES * sizeof(*page));
	init_faults();
	with_both(settle);
	pins = pins_in_system();
}

unsigned long fuzz_sequences(void)
{
	return sequences;
}

unsigned long fuzz_operations(void)
{
	return counts->operations;
}

void fuzz_report(void)
{
	printf("%lu sequences, %lu operations, ", sequences, counts->operations);
	printf("%lu of %lu faults came, %lu of them as -ENOMEM, ", counts->came, counts->faults,
	       counts->no_memory);
	printf("%lu probes, %lu of them of a device that does nothing, ", counts->probes,
	       counts->idle);
	printf("%lu requests of made-up rings\n", counts->made_up);
}
