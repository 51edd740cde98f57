// SPDX-License-Identifier: GPL-2.0
/*
 * One input is one life of /dev/vhost-vdpa-N: operations of four bytes each, decoded
 * so that every byte means something. Whatever they are, the model says what must
 * come of each, and at the end nothing may be left.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
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
#include "util.h"

#define PAGE		4096ULL
#define RING_IOVA	BIT_ULL(44)	/* where no operation maps anything */
#define FEATURES	(BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM))

struct op {
	uint8_t code, a, b, c;
};

static const struct vdpa_parent parents[] = { SIM_NET(true), SIM_NET(false) };

static struct vdpa_dev dev;
static struct vdpa_client client;
static struct reach reach;
static struct model model;
static long pins;		/* of others */
static bool has_faults;		/* the parent can be told to fail */
static bool wild;		/* a device has worked with what came in the input */
static unsigned long sequences, operations;

/* What was done, for who reads of a failure */

static char journal[16384];
static size_t journal_length;
static bool loud;

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
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

static void __attribute__((noreturn, format(printf, 1, 2)))
wrong(const char *format, ...)
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

/* What the kernel returned, and what the model says it has to */
static void expect(const char *what, int expected, int returned)
{
	say("%s: %d\n", what, returned);
	operations++;
	if (expected != returned)
		wrong("%s returned %d (%s), expected %d (%s)", what, returned,
		      strerror(-returned), expected, strerror(-expected));
}

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

static int do_ioctl(unsigned long cmd, void *arg)
{
	return result(ioctl(client.fd, cmd, arg));
}

/* Messages */

static const char *fault_name(const struct model_msg *msg)
{
	if (model.set_map)
		return msg->fault == FAILS ? "fail_set_map" : "lose_map";

	return msg->type == VHOST_IOTLB_INVALIDATE ? "fail_dma_unmap" : "fail_dma_map";
}

/* As it is written: longer ones have zeroes behind them */
static int write_msg(const struct model_msg *msg)
{
	union {
		struct vhost_msg v1;
		struct vhost_msg_v2 v2;
		uint8_t bytes[128];
	} buf = {};
	struct vhost_iotlb_msg iotlb = {
		.iova = msg->iova,
		.size = msg->size,
		.uaddr = msg->addr,
		.perm = msg->perm,
		.type = msg->type,
	};
	ssize_t n;

	buf.v2.type = msg->version;
	if (msg->version == 1) {
		buf.v1.iotlb = iotlb;
	} else {
		buf.v2.asid = msg->asid;
		buf.v2.iotlb = iotlb;
	}
	n = write(client.fd, &buf, msg->len);
	if (n < 0)
		return -errno;

	/* All kernels say that they have taken a whole one, whatever there was */
	return n == sizeof(buf.v2) ? 0 : -EIO;
}

static int write_as_stranger(const struct model_msg *msg)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(-write_msg(msg));
	if (pid < 0 || wait_for(pid, &status) || !WIFEXITED(status))
		wrong("no child");

	return -WEXITSTATUS(status);
}

static void message(const struct model_msg *msg)
{
	char what[160];
	int r;

	snprintf(what, sizeof(what),
		 "msg%s v%d len %zu asid %u type %u iova %#llx size %#llx addr %#llx perm %u fault %u",
		 msg->stranger ? " of a stranger" : "", msg->version, msg->len, msg->asid,
		 msg->type, (unsigned long long)msg->iova, (unsigned long long)msg->size,
		 (unsigned long long)msg->addr, msg->perm, msg->fault);
	if (msg->fault && sim_fail(fault_name(msg), 1, false))
		wrong("faults cannot be injected");
	r = msg->stranger ? write_as_stranger(msg) : write_msg(msg);
	if (msg->fault)
		sim_fail_stop(fault_name(msg));
	expect(what, model_message(&model, msg), r);
}

/* Decoding */

static uint64_t decode_iova(uint8_t a)
{
	static const uint64_t bases[] = { 0, BIT_ULL(32) - 4 * PAGE, BIT_ULL(40), -8 * PAGE };

	return bases[a >> 6] + (a >> 3 & 7) * PAGE + (a & 4 ? PAGE / 2 : 0);
}

static uint64_t decode_size(uint8_t b)
{
	static const uint64_t sizes[] = {
		PAGE, PAGE, PAGE, 2 * PAGE, 2 * PAGE, 3 * PAGE, 4 * PAGE, 5 * PAGE,
		8 * PAGE, PAGE / 2, 1, 0, PAGE + 1, ALIAS_PAGES * PAGE, BIT_ULL(63), -1,
	};

	return sizes[b >> 4];
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
		.size = decode_size(op->b),
	};

	msg.addr = memory_addr(op->b & 15) + msg.iova % PAGE;
	switch (op->c >> 5) {
	case 4:
		msg.addr += PAGE / 4;
		break;
	case 5:
		msg.fault = FAILS;
		break;
	case 6:
		msg.fault = model.set_map ? LOSES_ALL : FAILS;
		break;
	case 7:
		msg.asid += 2;
		break;
	}
	if (!has_faults)
		msg.fault = WORKS;

	return msg;
}

static void decoded_msg(const struct op *op, uint8_t type)
{
	struct model_msg msg = decode_msg(op, type);

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
	msg.fault = WORKS;
	message(&msg);
}

static void op_stranger(const struct op *op)
{
	struct model_msg msg = decode_msg(op, VHOST_IOTLB_UPDATE);

	msg.fault = WORKS;
	msg.stranger = true;
	message(&msg);
}

/* The life of the file */

static void op_open(const struct op *op)
{
	int fd = open(dev.path, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		client.fd = fd;
	expect("open", model_open(&model), result(fd));
}

static void op_close(const struct op *op)
{
	close(client.fd);
	client.fd = -1;
	model_close(&model);
	expect("close", 0, 0);
}

static void op_own(const struct op *op)
{
	expect("own", model_own(&model), do_ioctl(VHOST_SET_OWNER, NULL));
}

static void ack(uint64_t features)
{
	expect("ack", model_ack(&model, features),
	       do_ioctl(VHOST_SET_BACKEND_FEATURES, &features));
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

static void status(uint8_t value)
{
	char what[32];

	snprintf(what, sizeof(what), "status %#x", value);
	expect(what, model_status(&model, value), do_ioctl(VHOST_VDPA_SET_STATUS, &value));
}

static void op_status(const struct op *op)
{
	static const uint8_t values[] = { 0, 1, 3, 0xb, 0xf, 0x80, 4, 0xb };

	status(values[op->a & 7]);
}

static void op_reset(const struct op *op)
{
	status(0);
}

static void op_features(const struct op *op)
{
	uint64_t features = op->a & 1 ? FEATURES : op->a & 2 ? 0 : -1ULL;

	expect("features", model_features(&model, features),
	       do_ioctl(VHOST_SET_FEATURES, &features));
}

static void op_group(const struct op *op)
{
	struct vhost_vring_state s = { .index = op->a & 3, .num = op->b & 3 };

	expect("group", model_group(&model, s.index, s.num),
	       do_ioctl(VHOST_VDPA_SET_GROUP_ASID, &s));
}

/* What an ioctl of a ring has to say if the ring is there, and its number is good */
static int ring_result(const struct op *op, int r)
{
	if (!model.owned)
		return -EPERM;

	return (op->a & 3) < MODEL_RINGS ? r : -ENOBUFS;
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
	};
	unsigned int i = op->b % 11;
	struct vhost_vring_state s = { .index = op->a & 3, .num = choices[i].num };

	expect("ring", ring_result(op, choices[i].r), do_ioctl(choices[i].cmd, &s));
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

	expect("ring address", ring_result(op, addr.flags ? -EOPNOTSUPP : op->c == 2 ? -EINVAL : 0),
	       do_ioctl(VHOST_SET_VRING_ADDR, &addr));
}

static void op_ring_file(const struct op *op)
{
	struct vhost_vring_file f = { .index = op->a & 3, .fd = -1 };
	unsigned int ring = f.index % MODEL_RINGS;
	unsigned long cmd = op->b & 4 ? VHOST_SET_VRING_CALL : VHOST_SET_VRING_KICK;
	int r = 0;

	switch (op->b & 3) {
	case 0:
	case 1:
		f.fd = cmd == VHOST_SET_VRING_CALL ? client.call[ring] : client.kick[ring];
		break;
	case 2:
		f.fd = 1000000;
		r = -EBADF;
		break;
	}
	/* It may have been kicked already */
	wild = true;
	expect("ring file", ring_result(op, r), do_ioctl(cmd, &f));
}

static void op_kick(const struct op *op)
{
	wild = true;
	say("kick %u\n", op->a % MODEL_RINGS);
	operations++;
	eventfd_write(client.kick[op->a % MODEL_RINGS], 1);
}

static void op_config(const struct op *op)
{
	struct {
		struct vhost_vdpa_config head;
		uint8_t buf[256];
	} config = { .head = { .off = op->a & 31, .len = op->b & 63 } };
	uint32_t size = 0;
	bool fits;

	expect("config size", 0, do_ioctl(VHOST_VDPA_GET_CONFIG_SIZE, &size));
	fits = config.head.len && config.head.off <= size &&
	       config.head.len <= size - config.head.off;
	expect("get config", fits ? 0 : -EINVAL, do_ioctl(VHOST_VDPA_GET_CONFIG, &config));
	if (op->c & 1)
		expect("set config", fits ? 0 : -EINVAL, do_ioctl(VHOST_VDPA_SET_CONFIG, &config));
}

static void op_get(const struct op *op)
{
	struct vhost_vdpa_iova_range range;
	uint64_t value;
	uint8_t now;

	expect("get id", 0, do_ioctl(VHOST_VDPA_GET_DEVICE_ID, &value));
	expect("get features", 0, do_ioctl(VHOST_GET_FEATURES, &value));
	expect("get backend features", 0, do_ioctl(VHOST_GET_BACKEND_FEATURES, &value));
	expect("get ring size", 0, do_ioctl(VHOST_VDPA_GET_VRING_NUM, &value));
	expect("get groups", 0, do_ioctl(VHOST_VDPA_GET_GROUP_NUM, &value));
	expect("get spaces", 0, do_ioctl(VHOST_VDPA_GET_AS_NUM, &value));
	expect("get range", 0, do_ioctl(VHOST_VDPA_GET_IOVA_RANGE, &range));
	expect("get status", 0, do_ioctl(VHOST_VDPA_GET_STATUS, &now));
	if (now != model.status)
		wrong("status is %#x, expected %#x", now, model.status);
}

static void op_suspend(const struct op *op)
{
	expect("suspend", 0, do_ioctl(VHOST_VDPA_SUSPEND, NULL));
}

/* What it may pin */

static void set_limit(uint64_t pages)
{
	struct rlimit limit = { .rlim_max = RLIM_INFINITY };

	limit.rlim_cur = pages < 1000000 ? pages * PAGE : RLIM_INFINITY;
	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		wrong("no limit");
	model.limit = limit.rlim_cur / PAGE;
}

static void op_limit(const struct op *op)
{
	static const uint64_t limits[] = { -1ULL, 0, 1, 2, 4, 7, 12, 2101 };

	say("limit %llu\n", (unsigned long long)limits[op->a & 7]);
	operations++;
	set_limit(limits[op->a & 7]);
}

static void op_memory(const struct op *op)
{
	say("memory: %s %u\n", memory_change(op->a, op->b), op->b);
	operations++;
}

static void check_pins(void)
{
	long charged = pins_of_process(), pinned = pins_in_system() - pins;

	say("pins\n");
	if (charged != (long)model_charged(&model))
		wrong("%ld pages are charged, expected %ld", charged, (long)model_charged(&model));
	if (pinned != (long)model_pinned(&model))
		wrong("%ld pages are pinned, expected %ld", pinned, (long)model_pinned(&model));
}

static void op_pins(const struct op *op)
{
	check_pins();
}

/* What the device reaches */

/* The pages around the address; false: one of them is not of the block */
static bool fill_reach(uint32_t asid, uint64_t iova)
{
	uint64_t page = (iova & ~(PAGE - 1)) - PAGE;
	const struct model_run *run;
	long at;
	int i;

	reach.n = 0;
	for (i = 0; i < 3; i++, page += PAGE) {
		run = model_reach(&model, asid, page);
		if (!run)
			continue;
		at = memory_block_page(run->pfn + (page - run->iova) / PAGE);
		if (at < 0)
			return false;
		reach.range[reach.n++] = (struct reach_range) {
			.iova = page, .size = PAGE, .offset = at * PAGE, .perm = run->perm,
		};
	}

	return true;
}

static void ring_page(uint32_t asid, uint8_t type)
{
	const struct model_msg msg = {
		.version = 2, .len = sizeof(struct vhost_msg_v2), .asid = asid, .type = type,
		.perm = VHOST_ACCESS_RW, .iova = RING_IOVA, .size = sizeof(*client.page),
		.addr = (uintptr_t)client.page,
	};

	message(&msg);
}

static void start_device(uint32_t asid)
{
	int r;

	client.asid = asid;
	r = client_start(&client);
	if (r)
		wrong("the device does not start: %d", r);
}

/* As a client that keeps its mappings over the resets that it takes */
static void probe(uint32_t asid, uint64_t iova, unsigned int len)
{
	const struct model_msg end = {
		.version = 2, .len = sizeof(struct vhost_msg_v2), .asid = model.batch_asid,
		.type = VHOST_IOTLB_BATCH_END,
	};
	uint64_t acked = model.acked, limit = model.limit;
	const char *why;

	if (!model.open || !model.owned)
		return;
	set_limit(-1ULL);
	ack(F_BASIC | F_PERSIST);
	if (model.in_batch)
		message(&end);
	status(0);
	if (wild)
		memcpy(reach.expected, reach.mem, reach.size);
	wild = false;
	ring_page(asid, VHOST_IOTLB_UPDATE);
	if (fill_reach(asid, iova)) {
		start_device(asid);
		why = reach_probe(&reach, iova, len);
		say("probe asid %u, %u bytes at %#llx: %s\n", asid, len,
		    (unsigned long long)iova, why);
		if (*why)
			wrong("%s", why);
		status(0);
	}
	ring_page(asid, VHOST_IOTLB_INVALIDATE);
	ack(acked);
	set_limit(limit);
}

static void op_probe(const struct op *op)
{
	uint64_t iova = decode_iova(op->a);

	switch (op->b & 3) {
	case 0:
		probe(op->a & 1, iova, 1);
		break;
	case 1:
		probe(op->a & 1, iova - 1, 1);
		break;
	default:
		/* Not over the end of all addresses */
		probe(op->a & 1, iova - 32 < iova ? iova - 32 : iova, 64);
		break;
	}
}

/* At the end, a border of something that is mapped, or was */
static void last_probe(uint8_t choice)
{
	const struct model_runs *runs = &model.space[choice & 1].device;
	const struct model_run *run;

	if (!runs->n)
		return;
	run = &runs->run[(choice >> 2) % runs->n];
	if (choice & 2)
		probe(choice & 1, run->iova + run->pages * PAGE - 1, 1);
	else if (run->iova)
		probe(choice & 1, run->iova - 32, 64);
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
};

static void do_op(const struct op *op)
{
	unsigned int i = op->code % (sizeof(ops) / sizeof(ops[0]));

	if (i > 2 && !model.open)
		op_open(op);
	else
		ops[i](op);
	cover_take();
}

/* Most lives begin in the same way */
static void begin(uint8_t head)
{
	journal_length = 0;
	journal[0] = '\0';
	set_limit(-1ULL);
	if (head & 1)
		return;
	op_open(NULL);
	if (head & 2)
		return;
	op_own(NULL);
	ack_choice(head >> 2);
}

static void end(uint8_t head)
{
	check_pins();
	if (!(head & 32))
		last_probe(head);
	if (model.open)
		op_close(NULL);
	check_pins();
	memory_restore();
	cover_take();
}

void fuzz_one(const uint8_t *data, size_t size)
{
	size_t at = FUZZ_HEAD, most = FUZZ_HEAD + FUZZ_OP * FUZZ_MAX_OPS;
	struct op op;

	if (size < FUZZ_HEAD)
		return;
	sequences++;
	begin(data[0]);
	for (; at + FUZZ_OP <= size && at < most; at += FUZZ_OP) {
		memcpy(&op, data + at, sizeof(op));
		do_op(&op);
	}
	end(data[1]);
}

/* What the device is like, which is all that it is believed */
static void ask_device(void)
{
	uint32_t groups = 0;
	int fd = open(dev.path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, VHOST_VDPA_GET_GROUP_NUM, &groups))
		wrong("the device does not open");
	close(fd);
	model.groups = groups;
	model.offered = F_BASIC | BIT_ULL(VHOST_BACKEND_F_SUSPEND) | F_PERSIST |
			/* Rings have a group of their own */
			(groups > 2 ? F_DESC_ASID : 0);
}

/* As client_open() does it, once for all files */
static void init_client(void)
{
	int i;

	client.fd = -1;
	client.dev = &dev;
	client.device_id = dev.parent->device_id;
	client.nvqs = MODEL_RINGS;
	client.iova = RING_IOVA;
	client.refusals = -1;
	/* As the simulator takes a request and refuses it before it looks at the next */
	client.io_ms = 1;
	client.page = mmap(NULL, sizeof(*client.page), PROT_READ | PROT_WRITE,
			   MAP_ANONYMOUS | MAP_POPULATE | MAP_SHARED, -1, 0);
	if (client.page == MAP_FAILED)
		wrong("no memory");
	for (i = 0; i < CLIENT_RINGS; i++) {
		client.kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		client.call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
}

void fuzz_init(void)
{
	const char *name = getenv("FUZZ_PARENT"), *why;

	loud = getenv("FUZZ_TRACE");
	/* What was done last is what matters if it ends there */
	if (loud)
		setvbuf(stdout, NULL, _IOLBF, 0);
	model.memory = &memory;
	model.set_map = !name || !strcmp(name, "set_map");
	if (vdpa_dev_get(&dev, &parents[!model.set_map], &why))
		wrong("no device: %s", why);
	ask_device();
	init_client();
	/* Those that don't do are kept, or the next one would be of the same pages */
	do {
		if (reach_init(&reach, &client, 64 * PAGE))
			wrong("no memory");
	} while (!memory_take_block(&reach));
	memory_init(client.page, sizeof(*client.page));
	has_faults = !access("/sys/kernel/debug/vdpa_sim", F_OK);
	pins = pins_in_system();
}

unsigned long fuzz_sequences(void)
{
	return sequences;
}

unsigned long fuzz_operations(void)
{
	return operations;
}
