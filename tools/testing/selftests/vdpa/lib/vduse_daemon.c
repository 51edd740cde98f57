// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vduse.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "packed.h"
#include "util.h"
#include "vduse_daemon.h"

#define DISK_SIZE	0x100000UL
#define SECTOR_SIZE	512
#define RING_NUM	128
#define MAX_RANGES	64

/* How often it looks for questions, and how long they may take */
#define ASK_MS		5
#define ANSWER_MS	30000

enum vduse_question {
	VDUSE_REACHES,
	VDUSE_HOLD,
	VDUSE_TOUCH,
};

/* What the test says to the daemon, and the daemon to the test */
struct vduse_shared {
	bool ready;
	bool keep;
	bool refuse_resets;
	unsigned int refuse;
	unsigned int updates;
	unsigned int resets;
	unsigned int mapped;
	/* Messages until it dies, with this one; 0: it does not */
	unsigned int die_in;
	/* It is about to: who sees what comes of it waits until it has */
	bool dying;
	bool refused;
	enum vduse_death death;
	unsigned int refusals;
	/* A question is there while the two differ */
	unsigned int asked;
	unsigned int answered;
	enum vduse_question question;
	uint64_t start;
	uint64_t last;
	int answer;
	/* Of the file of the device's IOVA domain, in the daemon, and its range */
	int held_fd;
	uint64_t held_start;
	uint64_t held_last;
	uint8_t disk[DISK_SIZE];
};

struct range {
	uint64_t start;
	uint64_t last;
	void *addr;
	uint8_t perm;		/* VDUSE_ACCESS_... */
};

/* The state of the process that serves the device */
struct server {
	int fd;
	int kick;
	struct vduse_shared *shared;
	struct range ranges[MAX_RANGES];
	bool running;
	bool packed;
	uint16_t last_avail;	/* in a packed ring where it is, see packed.h ... */
	uint16_t last_used;	/* ... and where it goes back */
	struct vduse_vq_info vq;
	uint8_t *held;
};

/* What it reaches */

static int perm_to_prot(uint8_t perm)
{
	return (perm & VDUSE_ACCESS_RO ? PROT_READ : 0) |
	       (perm & VDUSE_ACCESS_WO ? PROT_WRITE : 0);
}

static void server_unmap(struct server *s, uint64_t start, uint64_t last)
{
	struct range *r;

	for (r = s->ranges; r < s->ranges + MAX_RANGES; r++) {
		if (!r->addr || r->start > last || r->last < start)
			continue;
		munmap(r->addr, r->last - r->start + 1);
		r->addr = NULL;
		s->shared->mapped--;
	}
}

static struct range *server_map(struct server *s, uint64_t iova)
{
	struct vduse_iotlb_entry entry = { .start = iova, .last = iova };
	struct range *r = s->ranges;
	int fd;

	while (r->addr)
		if (++r == s->ranges + MAX_RANGES)
			return NULL;

	fd = ioctl(s->fd, VDUSE_IOTLB_GET_FD, &entry);
	if (fd < 0)
		return NULL;
	r->start = entry.start;
	r->last = entry.last;
	r->perm = entry.perm;
	r->addr = mmap(NULL, entry.last - entry.start + 1,
		       perm_to_prot(entry.perm), MAP_SHARED, fd, entry.offset);
	close(fd);
	if (r->addr == MAP_FAILED) {
		r->addr = NULL;
		return NULL;
	}
	s->shared->mapped++;

	return r;
}

/* The range that @iova is in, if it may be used like that */
static struct range *server_range(struct server *s, uint64_t iova, uint8_t perm)
{
	struct range *r;

	for (r = s->ranges; r < s->ranges + MAX_RANGES; r++)
		if (r->addr && r->start <= iova && iova <= r->last)
			break;
	if (r == s->ranges + MAX_RANGES)
		r = server_map(s, iova);
	if (r && (r->perm & perm) == perm)
		return r;
	s->shared->refusals++;

	return NULL;
}

/* For a ring, which has to be in one range */
static void *server_addr(struct server *s, uint64_t iova, uint64_t len,
			 uint8_t perm)
{
	struct range *r = server_range(s, iova, perm);

	return r && len - 1 <= r->last - iova ? r->addr + (iova - r->start) : NULL;
}

/* To or, @write, from a buffer of its own. False: not all of it is in reach */
static bool server_copy(struct server *s, uint64_t iova, void *buf, uint64_t len,
			bool write)
{
	uint8_t perm = write ? VDUSE_ACCESS_WO : VDUSE_ACCESS_RO;
	struct range *r;
	uint64_t n;

	for (; len; len -= n, iova += n, buf += n) {
		r = server_range(s, iova, perm);
		if (!r)
			return false;
		n = r->last - iova + 1;
		n = n < len ? n : len;
		if (write)
			memcpy(r->addr + (iova - r->start), buf, n);
		else
			memcpy(buf, r->addr + (iova - r->start), n);
	}

	return true;
}

static bool server_reaches(struct server *s, uint64_t start, uint64_t last)
{
	struct vduse_iotlb_entry entry = { .start = start, .last = last };
	int fd = ioctl(s->fd, VDUSE_IOTLB_GET_FD, &entry);

	if (fd >= 0)
		close(fd);

	return fd >= 0;
}

/* The lowest mapping is that of the bounce buffer, if the kernel uses the device */
static int server_hold(struct server *s, uint64_t iova)
{
	struct vduse_iotlb_entry entry = { .last = UINT64_MAX };
	void *addr;

	s->shared->held_fd = ioctl(s->fd, VDUSE_IOTLB_GET_FD, &entry);
	if (s->shared->held_fd < 0)
		return -errno;
	s->shared->held_start = entry.start;
	s->shared->held_last = entry.last;
	addr = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED,
		    s->shared->held_fd, iova);
	if (addr == MAP_FAILED)
		return -errno;
	s->held = addr;

	return 0;
}

static sigjmp_buf touch_failed;

static void on_sigbus(int sig)
{
	siglongjmp(touch_failed, 1);
}

static int server_touch(struct server *s)
{
	signal(SIGBUS, on_sigbus);
	if (sigsetjmp(touch_failed, 1))
		return -EFAULT;
	__atomic_xor_fetch(s->held, 0xff, __ATOMIC_SEQ_CST);

	return 0;
}

static void server_answer(struct server *s)
{
	struct vduse_shared *sh = s->shared;

	switch (sh->question) {
	case VDUSE_REACHES:
		sh->answer = server_reaches(s, sh->start, sh->last);
		break;
	case VDUSE_HOLD:
		sh->answer = server_hold(s, sh->start);
		break;
	case VDUSE_TOUCH:
		sh->answer = server_touch(s);
		break;
	}
	__atomic_store_n(&sh->answered, sh->asked, __ATOMIC_RELEASE);
}

/* The disk */

static uint8_t disk_data(struct server *s, uint64_t *pos,
			 const struct vring_desc *desc, bool *reached)
{
	uint64_t at = *pos;

	if (at > DISK_SIZE || desc->len > DISK_SIZE - at)
		return VIRTIO_BLK_S_IOERR;
	*reached &= server_copy(s, desc->addr, s->shared->disk + at, desc->len,
				desc->flags & VRING_DESC_F_WRITE);
	*pos += desc->len;

	return VIRTIO_BLK_S_OK;
}

static const uint8_t no_id[VIRTIO_BLK_ID_BYTES];

/* One request, of which all has to be in reach. False: it is not */
static bool server_request(struct server *s, struct vring_desc *table,
			   uint16_t head, uint32_t *written)
{
	struct virtio_blk_outhdr hdr = {};
	struct vring_desc *desc = &table[head];
	uint8_t status = VIRTIO_BLK_S_OK;
	bool reached = true;
	uint64_t pos = 0;
	unsigned int n;

	*written = 0;
	for (n = 0; n < s->vq.num && reached;
	     n++, desc = &table[desc->next % s->vq.num]) {
		if (!n) {
			reached = server_copy(s, desc->addr, &hdr, sizeof(hdr),
					      false);
			pos = hdr.sector * SECTOR_SIZE;
		} else if (!(desc->flags & VRING_DESC_F_NEXT)) {
			reached = server_copy(s, desc->addr, &status, 1, true);
		} else if (hdr.type == VIRTIO_BLK_T_GET_ID) {
			reached = server_copy(s, desc->addr, (void *)no_id,
					      sizeof(no_id), true);
		} else if (hdr.type <= VIRTIO_BLK_T_OUT) {
			status = disk_data(s, &pos, desc, &reached);
		} else if (hdr.type != VIRTIO_BLK_T_FLUSH) {
			status = VIRTIO_BLK_S_UNSUPP;
		}
		if (desc->flags & VRING_DESC_F_WRITE)
			*written += desc->len;
		if (!(desc->flags & VRING_DESC_F_NEXT))
			break;
	}

	return reached;
}

/* The next request of a packed ring, as a split one has it. Its length; 0: none */
static unsigned int server_unpack(struct server *s,
				  const struct vring_packed_desc *ring,
				  struct vring_desc *table, uint16_t *id)
{
	const struct vring_packed_desc *desc;
	uint16_t at = s->last_avail;
	unsigned int n = 0;

	if (!packed_is(ring, at, packed_avail(at)))
		return 0;
	do {
		desc = &ring[at & PACKED_INDEX];
		table[n].addr = desc->addr;
		table[n].len = desc->len;
		table[n].flags = desc->flags;
		table[n].next = n + 1;
		*id = desc->id;
		at = packed_after(at, 1, s->vq.num);
	} while (table[n++].flags & VRING_DESC_F_NEXT && n < s->vq.num);

	return n;
}

static void server_process_packed(struct server *s)
{
	struct vring_packed_desc *ring, *used;
	struct vring_desc table[RING_NUM];
	uint32_t len, index = 0;
	unsigned int n;
	uint16_t id;

	ring = server_addr(s, s->vq.desc_addr, sizeof(*ring) * s->vq.num,
			   VDUSE_ACCESS_RW);
	if (!ring)
		return;
	while ((n = server_unpack(s, ring, table, &id))) {
		if (!server_request(s, table, 0, &len))
			return;
		used = &ring[s->last_used & PACKED_INDEX];
		used->id = id;
		used->len = len;
		__atomic_store_n(&used->flags, packed_used(s->last_used),
				 __ATOMIC_RELEASE);
		s->last_avail = packed_after(s->last_avail, n, s->vq.num);
		s->last_used = packed_after(s->last_used, n, s->vq.num);
		ioctl(s->fd, VDUSE_VQ_INJECT_IRQ, &index);
	}
}

static void server_process_split(struct server *s)
{
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint32_t len, index = 0;
	uint16_t head;

	desc = server_addr(s, s->vq.desc_addr, sizeof(*desc) * s->vq.num,
			   VDUSE_ACCESS_RO);
	avail = server_addr(s, s->vq.driver_addr, 4 + 2 * s->vq.num,
			    VDUSE_ACCESS_RO);
	used = server_addr(s, s->vq.device_addr, 4 + 8 * s->vq.num,
			   VDUSE_ACCESS_RW);
	if (!desc || !avail || !used)
		return;

	while (s->last_avail != __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE)) {
		head = avail->ring[s->last_avail % s->vq.num] % s->vq.num;
		if (!server_request(s, desc, head, &len))
			return;
		used->ring[used->idx % s->vq.num].id = head;
		used->ring[used->idx % s->vq.num].len = len;
		__atomic_store_n(&used->idx, used->idx + 1, __ATOMIC_RELEASE);
		s->last_avail++;
		ioctl(s->fd, VDUSE_VQ_INJECT_IRQ, &index);
	}
}

static void server_process(struct server *s)
{
	if (s->running && s->packed)
		server_process_packed(s);
	else if (s->running)
		server_process_split(s);
}

/* What the kernel asks for */

static uint16_t server_at(uint16_t index, uint16_t counter)
{
	return index | (counter ? PACKED_WRAP : 0);
}

static void server_set_state(struct server *s)
{
	const struct vduse_vq_state_packed *packed = &s->vq.packed;
	uint64_t features = 0;

	ioctl(s->fd, VDUSE_DEV_GET_FEATURES, &features);
	s->packed = features & BIT_ULL(VIRTIO_F_RING_PACKED);
	if (!s->packed) {
		s->last_avail = s->vq.split.avail_index;
		return;
	}
	s->last_avail = server_at(packed->last_avail_idx, packed->last_avail_counter);
	s->last_used = server_at(packed->last_used_idx, packed->last_used_counter);
}

static void server_get_state(const struct server *s, struct vduse_vq_state *state)
{
	struct vduse_vq_state_packed *packed = &state->packed;

	if (!s->packed) {
		state->split.avail_index = s->last_avail;
		return;
	}
	packed->last_avail_idx = s->last_avail & PACKED_INDEX;
	packed->last_avail_counter = !!(s->last_avail & PACKED_WRAP);
	packed->last_used_idx = s->last_used & PACKED_INDEX;
	packed->last_used_counter = !!(s->last_used & PACKED_WRAP);
}

static void server_start(struct server *s)
{
	struct vduse_vq_eventfd kick = { .fd = s->kick };

	memset(&s->vq, 0, sizeof(s->vq));
	ioctl(s->fd, VDUSE_VQ_GET_INFO, &s->vq);
	server_set_state(s);
	ioctl(s->fd, VDUSE_VQ_SETUP_KICKFD, &kick);
	s->running = s->vq.num;
}

/* A predecessor may have died at work: go on after the last request it finished */
static void server_resume(struct server *s)
{
	struct vring_used *used;

	memset(&s->vq, 0, sizeof(s->vq));
	ioctl(s->fd, VDUSE_VQ_GET_INFO, &s->vq);
	if (!s->vq.ready)
		return;
	server_start(s);
	used = server_addr(s, s->vq.device_addr, sizeof(*used), VDUSE_ACCESS_RO);
	/* A packed ring does not say where that is: its client has to start anew */
	if (used && !s->packed)
		s->last_avail = used->idx;
	server_process(s);
}

static void server_set_status(struct server *s, uint8_t status)
{
	if (!status) {
		s->running = false;
		s->shared->resets++;
		if (!s->shared->keep)
			server_unmap(s, 0, UINT64_MAX);
		return;
	}
	if (!s->running && status & VIRTIO_CONFIG_S_DRIVER_OK)
		server_start(s);
}

static bool server_dies(const struct server *s, enum vduse_death death)
{
	bool dies = s->shared->die_in == 1 && s->shared->death == death;

	if (dies)
		__atomic_store_n(&s->shared->dying, true, __ATOMIC_RELEASE);

	return dies;
}

static void server_die(struct server *s, enum vduse_death death)
{
	if (server_dies(s, death))
		kill(getpid(), SIGKILL);
}

/* Say no to the message, and go on as if there had been none */
static bool server_refuses(struct server *s, const struct vduse_dev_request *req)
{
	if (s->shared->die_in == 1 && s->shared->death == VDUSE_REFUSES) {
		s->shared->refused = true;
		return true;
	}

	return req->type == VDUSE_SET_STATUS && !req->s.status &&
	       s->shared->refuse_resets;
}

static void server_message(struct server *s)
{
	struct vduse_dev_response resp = { .result = VDUSE_REQ_RESULT_OK };
	struct vduse_dev_request req;
	bool dies, refuses;

	server_die(s, VDUSE_DIES_BEFORE);
	if (read(s->fd, &req, sizeof(req)) != sizeof(req))
		return;
	server_die(s, VDUSE_DIES_UNANSWERED);
	resp.request_id = req.request_id;
	refuses = server_refuses(s, &req);

	switch (req.type) {
	case VDUSE_GET_VQ_STATE:
		server_get_state(s, &resp.vq_state);
		break;
	case VDUSE_SET_STATUS:
		if (!refuses)
			server_set_status(s, req.s.status);
		break;
	case VDUSE_UPDATE_IOTLB:
		if (!refuses)
			server_unmap(s, req.iova.start, req.iova.last);
		s->shared->updates++;
		if (s->shared->refuse) {
			s->shared->refuse--;
			resp.result = VDUSE_REQ_RESULT_FAILED;
		}
		break;
	default:
		resp.result = VDUSE_REQ_RESULT_FAILED;
	}
	if (refuses)
		resp.result = VDUSE_REQ_RESULT_FAILED;
	/* Before the answer, as who gets it may begin to count anew */
	dies = server_dies(s, VDUSE_DIES_ANSWERED);
	if (s->shared->die_in)
		s->shared->die_in--;
	if (write(s->fd, &resp, sizeof(resp)) != sizeof(resp))
		fprintf(stderr, "daemon: cannot answer: %s\n", strerror(errno));
	if (dies)
		kill(getpid(), SIGKILL);
}

static int server_open(struct server *s, const char *name)
{
	struct vduse_vq_config vq = { .max_size = RING_NUM };
	char path[256];
	int i;

	snprintf(path, sizeof(path), "/dev/vduse/%s", name);
	/* The node, and after a kill the end of the predecessor, take a while */
	for (i = 0; i < ANSWER_MS / 10; i++) {
		s->fd = open(path, O_RDWR | O_NONBLOCK);
		if (s->fd >= 0)
			break;
		usleep(10000);
	}
	s->kick = eventfd(0, EFD_NONBLOCK);
	if (s->fd < 0 || s->kick < 0)
		return -errno;

	return ioctl(s->fd, VDUSE_VQ_SETUP, &vq) ? -errno : 0;
}

static void serve(const char *name, struct vduse_shared *shared, pid_t parent)
{
	struct server s = { .shared = shared };
	struct pollfd p[2];
	eventfd_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	/* Nothing of the test's is kept open here: it may run without an input */
	close(STDIN_FILENO);
	close_range(STDERR_FILENO + 1, ~0U, 0);
	if (server_open(&s, name))
		_exit(1);
	shared->mapped = 0;
	shared->die_in = 0;
	shared->dying = false;
	server_resume(&s);
	__atomic_store_n(&shared->ready, true, __ATOMIC_RELEASE);

	p[0] = (struct pollfd){ .fd = s.fd, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = s.kick, .events = POLLIN };
	for (;;) {
		if (poll(p, 2, ASK_MS) < 0)
			_exit(1);
		if (p[0].revents & POLLIN)
			server_message(&s);
		if (p[1].revents & POLLIN && eventfd_read(s.kick, &n))
			_exit(1);
		if (p[1].revents & POLLIN)
			server_process(&s);
		if (__atomic_load_n(&shared->asked, __ATOMIC_ACQUIRE) !=
		    shared->answered)
			server_answer(&s);
	}
}

/* The side of the test */

static int vduse_ioctl(unsigned long request, const void *arg)
{
	int fd = open("/dev/vduse/control", O_RDWR | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, request, arg))
		r = -errno;
	close(fd);

	return r;
}

int vduse_create(const char *name, bool packed)
{
	const struct virtio_blk_config blk = { .capacity = DISK_SIZE / SECTOR_SIZE };
	struct vduse_dev_config *config;
	int r;

	config = calloc(1, sizeof(*config) + sizeof(blk));
	if (!config)
		return -ENOMEM;
	snprintf(config->name, sizeof(config->name), "%s", name);
	config->device_id = VIRTIO_ID_BLOCK;
	config->features = BIT_ULL(VIRTIO_F_VERSION_1) |
			   BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) |
			   BIT_ULL(VIRTIO_BLK_F_FLUSH) |
			   (packed ? BIT_ULL(VIRTIO_F_RING_PACKED) : 0);
	config->vq_num = 1;
	config->vq_align = getpagesize();
	config->config_size = sizeof(blk);
	memcpy(config->config, &blk, sizeof(blk));
	r = vduse_ioctl(VDUSE_CREATE_DEV, config);
	free(config);

	return r;
}

int vduse_destroy(const char *name)
{
	char buf[VDUSE_NAME_MAX] = "";

	snprintf(buf, sizeof(buf), "%s", name);

	return vduse_ioctl(VDUSE_DESTROY_DEV, buf);
}

int vduse_daemon_restart(struct vduse_daemon *d)
{
	pid_t parent = getpid();
	int i;

	d->shared->ready = false;
	d->pid = fork();
	if (d->pid < 0)
		return -errno;
	if (!d->pid)
		serve(d->name, d->shared, parent);

	for (i = 0; i < ANSWER_MS / 10; i++) {
		if (__atomic_load_n(&d->shared->ready, __ATOMIC_ACQUIRE))
			return 0;
		usleep(10000);
	}
	vduse_daemon_kill(d);

	return -ETIMEDOUT;
}

int vduse_daemon_start(struct vduse_daemon *d, const char *name, bool packed)
{
	int r;

	snprintf(d->name, sizeof(d->name), "%s", name);
	d->shared = mmap(NULL, sizeof(*d->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (d->shared == MAP_FAILED)
		return -errno;

	vduse_destroy(name);
	r = vduse_create(name, packed);
	if (r)
		goto unmap;
	r = vduse_daemon_restart(d);
	if (r)
		goto destroy;

	return 0;
destroy:
	vduse_destroy(name);
unmap:
	munmap(d->shared, sizeof(*d->shared));
	return r;
}

/* 1: it died as it was told to; -ECHILD: of something else; 0: it did not */
static int vduse_daemon_died(struct vduse_daemon *d)
{
	bool dying = __atomic_load_n(&d->shared->dying, __ATOMIC_ACQUIRE);
	int status;

	if (d->pid <= 0 || waitpid(d->pid, &status, dying ? 0 : WNOHANG) != d->pid)
		return 0;
	d->pid = 0;

	return dying && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ?
	       1 : -ECHILD;
}

int vduse_daemon_kill(struct vduse_daemon *d)
{
	if (d->pid <= 0)
		return -ESRCH;
	kill(d->pid, SIGKILL);
	if (waitpid(d->pid, NULL, 0) < 0)
		return -errno;
	d->pid = 0;

	return 0;
}

int vduse_daemon_stop(struct vduse_daemon *d)
{
	vduse_daemon_kill(d);
	munmap(d->shared, sizeof(*d->shared));

	return vduse_destroy(d->name);
}

void vduse_daemon_cleanup(const char *name)
{
	vduse_destroy(name);
}

void vduse_daemon_refuse(struct vduse_daemon *d, unsigned int times)
{
	d->shared->refuse = times;
}

void vduse_daemon_refuse_resets(struct vduse_daemon *d, bool refuse)
{
	d->shared->refuse_resets = refuse;
}

void vduse_daemon_keep(struct vduse_daemon *d, bool keep)
{
	d->shared->keep = keep;
}

int vduse_daemon_updates(struct vduse_daemon *d)
{
	return d->shared->updates;
}

int vduse_daemon_mapped(struct vduse_daemon *d)
{
	return d->shared->mapped;
}

int vduse_daemon_refusals(struct vduse_daemon *d)
{
	return d->shared->refusals;
}

int vduse_daemon_resets(struct vduse_daemon *d)
{
	return d->shared->resets;
}

static void vduse_daemon_die(struct vduse_daemon *d, unsigned int nth,
			     enum vduse_death death)
{
	d->shared->refused = false;
	d->shared->death = death;
	d->shared->die_in = nth;
}

/* An operation, in a thread of its own: the daemon's parent has to live on */
struct work {
	int (*op)(void *arg);
	void *arg;
	bool done;
	int result;
};

static void *do_work(void *arg)
{
	struct work *work = arg;

	work->result = work->op(work->arg);
	__atomic_store_n(&work->done, true, __ATOMIC_RELEASE);

	return NULL;
}

int vduse_daemon_fail_during(struct vduse_daemon *d, unsigned int nth,
			     enum vduse_death death, bool successor, bool *failed,
			     int (*op)(void *arg), void *arg, int *result)
{
	struct work work = { .op = op, .arg = arg };
	bool died = false, done;
	int r, crashed = 0, was;
	pthread_t thread;

	vduse_daemon_die(d, nth, death);
	r = -pthread_create(&thread, NULL, do_work, &work);
	if (r)
		return r;
	do {
		usleep(1000);
		done = __atomic_load_n(&work.done, __ATOMIC_ACQUIRE);
		was = vduse_daemon_died(d);
		died |= was > 0;
		crashed = was < 0 ? was : crashed;
		if (!r && !d->pid && (successor || done))
			r = vduse_daemon_restart(d);
	} while (!done);
	pthread_join(thread, NULL);
	*failed = died || d->shared->refused;
	*result = work.result;
	vduse_daemon_die(d, 0, death);

	return crashed ?: r;
}

static int vduse_daemon_ask(struct vduse_daemon *d, enum vduse_question question,
			    uint64_t start, uint64_t last)
{
	unsigned int asked = d->shared->asked + 1;
	int i;

	d->shared->question = question;
	d->shared->start = start;
	d->shared->last = last;
	__atomic_store_n(&d->shared->asked, asked, __ATOMIC_RELEASE);

	for (i = 0; i < ANSWER_MS; i++) {
		if (__atomic_load_n(&d->shared->answered, __ATOMIC_ACQUIRE) == asked)
			return d->shared->answer;
		usleep(1000);
	}

	return -ETIMEDOUT;
}

int vduse_daemon_reaches(struct vduse_daemon *d, uint64_t start, uint64_t last)
{
	return vduse_daemon_ask(d, VDUSE_REACHES, start, last);
}

int vduse_daemon_hold(struct vduse_daemon *d, uint64_t iova)
{
	return vduse_daemon_ask(d, VDUSE_HOLD, iova, 0);
}

int vduse_daemon_touch(struct vduse_daemon *d)
{
	return vduse_daemon_ask(d, VDUSE_TOUCH, 0, 0);
}

void vduse_daemon_held_range(struct vduse_daemon *d, uint64_t *start,
			     uint64_t *last)
{
	*start = d->shared->held_start;
	*last = d->shared->held_last;
}

int vduse_daemon_held_file(struct vduse_daemon *d)
{
	int pidfd = syscall(SYS_pidfd_open, d->pid, 0);
	int fd;

	if (pidfd < 0)
		return -errno;
	fd = syscall(SYS_pidfd_getfd, pidfd, d->shared->held_fd, 0);
	if (fd < 0)
		fd = -errno;
	close(pidfd);

	return fd;
}

int vduse_daemon_reaches_at(struct vduse_daemon *d, uint64_t iova)
{
	return vduse_daemon_reaches(d, iova, iova);
}

int vduse_set_timeout(const struct vduse_daemon *d, unsigned int seconds)
{
	char path[256], text[16];

	snprintf(path, sizeof(path), "/sys/class/vduse/%s/msg_timeout", d->name);
	snprintf(text, sizeof(text), "%u", seconds);

	return write_file(path, text);
}
