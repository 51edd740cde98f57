// SPDX-License-Identifier: GPL-2.0
/*
 * Threads do anything to the same open files, in any order, until their processes
 * are killed at a random moment. The kernel does not warn, no page stays pinned, and
 * whoever has the device next finds one that works. SEED=n repeats the choices, but
 * not the order in which the threads come to them.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

#define PAGES		64U
#define THREADS		3
#define AT_ONCE		4	/* kinds of operation that meet in one round */
#define DEVICES		2
#define OPERATIONS	1000U	/* in a round, at most, if it takes no longer than ... */
#define LONGEST_MS	2000

/* What they race on. A round has as many operations on a slow machine as on others */
struct arena {
	struct vdpa_dev devs[DEVICES];
	unsigned int n;
	uint64_t seed;
	unsigned int round;
	unsigned int *tried;	/* operations in this round, by all processes ... */
	unsigned int *done;	/* and those for which there was a device */
	unsigned long ever;	/* done in all rounds */
	/* What a group of processes does until it is killed, once it has told @ready */
	void (*race)(struct arena *a, int ready);
};

/* One thread: who it is, and what it shares with the others */
struct racer {
	void (*ops[AT_ONCE])(struct racer *r);
	struct arena *a;
	struct vdpa_client *clients;
	unsigned int n;		/* of them, that are used in this round ... */
	struct vdpa_client *c;	/* ... and whom the next operation is for */
	char *mem;		/* PAGES of them, which come and go */
	uint64_t state;		/* of the random numbers */
};

static uint32_t draw(struct racer *r, uint32_t below)
{
	r->state = r->state * 6364136223846793005ULL + 1442695040888963407ULL;

	return (r->state >> 33) % below;
}

/* Operations: what they return depends on what the others do */

static void race_map(struct racer *r)
{
	unsigned int first = draw(r, PAGES - 4), n = 1 + draw(r, 4);

	client_map_perm(r->c, draw(r, 2), (draw(r, PAGES) + 1ULL) << 20,
			r->mem + first * 4096UL, n * 4096UL, 1 + draw(r, 3));
}

static void race_unmap(struct racer *r)
{
	if (draw(r, 4))
		client_unmap_at(r->c, draw(r, 2), (draw(r, PAGES) + 1ULL) << 20,
				(1 + draw(r, 4)) << 20);
	else
		client_unmap_at(r->c, draw(r, 2), 0, 0);
}

static void race_page(struct racer *r)
{
	client_map_at(r->c, draw(r, 2), r->c->iova, r->c->page,
		      sizeof(*r->c->page));
}

static void race_batch(struct racer *r)
{
	client_batch(r->c, draw(r, 2), draw(r, 2));
}

static void race_start(struct racer *r)
{
	/* Without it, a device that runs takes the whole ring for new requests */
	client_reset(r->c);
	client_start(r->c);
	client_burst(r->c);
}

static void race_reset(struct racer *r)
{
	client_reset(r->c);
}

/* What a reset takes from a client of old, the next one maps again for this one */
static void race_renew(struct racer *r)
{
	client_ack(r->c, F_BASIC);
	client_reset(r->c);
	client_ack(r->c, r->c->features);
	client_reset(r->c);
}

static void race_status(struct racer *r)
{
	static const uint8_t statuses[] = { 0, 1, 3, 11, 15, 15, 0x80 };
	uint8_t status = statuses[draw(r, sizeof(statuses))];

	ioctl(r->c->fd, VHOST_VDPA_SET_STATUS, &status);
	ioctl(r->c->fd, VHOST_VDPA_GET_STATUS, &status);
}

static void race_suspend(struct racer *r)
{
	ioctl(r->c->fd, VHOST_VDPA_SUSPEND);
}

static void race_ring(struct racer *r)
{
	static const unsigned long ioctls[] = {
		VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_GET_VRING_BASE,
		VHOST_VDPA_SET_VRING_ENABLE, VHOST_VDPA_GET_VRING_GROUP,
		VHOST_VDPA_SET_GROUP_ASID, VHOST_VDPA_SET_GROUP_ASID,
		VHOST_VDPA_GET_VRING_DESC_GROUP,
	};
	struct vhost_vring_state s = {
		.index = draw(r, 4),
		.num = draw(r, 3),
	};

	ioctl(r->c->fd, ioctls[draw(r, sizeof(ioctls) / sizeof(*ioctls))], &s);
}

static void race_address(struct racer *r)
{
	uint64_t iova = r->c->iova + draw(r, 4) * 4096;
	struct vhost_vring_addr addr = {
		.index = draw(r, 3),
		.desc_user_addr = iova,
		.avail_user_addr = iova + 0x80,
		.used_user_addr = iova + 0x100,
	};

	ioctl(r->c->fd, VHOST_SET_VRING_ADDR, &addr);
}

/* Eventfds that come and go under who signals them */
static void race_eventfd(struct racer *r)
{
	static const unsigned long ioctls[] = {
		VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL,
		VHOST_SET_VRING_ERR, VHOST_VDPA_SET_CONFIG_CALL,
	};
	unsigned int which = draw(r, 4);
	struct vhost_vring_file file = {
		.index = draw(r, 3),
		.fd = draw(r, 4) ? eventfd(0, EFD_CLOEXEC) : -1,
	};

	if (which == 3)
		ioctl(r->c->fd, ioctls[which], &file.fd);
	else
		ioctl(r->c->fd, ioctls[which], &file);
	if (file.fd >= 0)
		close(file.fd);
}

static void race_kick(struct racer *r)
{
	client_kick(r->c, draw(r, CLIENT_RINGS));
}

static void race_features(struct racer *r)
{
	uint64_t features = r->c->features;

	if (draw(r, 2))
		ioctl(r->c->fd, VHOST_SET_BACKEND_FEATURES, &features);
	else if (!ioctl(r->c->fd, VHOST_GET_FEATURES, &features))
		ioctl(r->c->fd, VHOST_SET_FEATURES, &features);
}

static void race_config(struct racer *r)
{
	char mac[6];

	client_get_config(r->c, 0, mac, sizeof(mac));
}

static void race_owner(struct racer *r)
{
	ioctl(r->c->fd, draw(r, 2) ? VHOST_SET_OWNER : VHOST_RESET_OWNER);
}

/* The pages that are mapped are not these any more */
static void race_memory(struct racer *r)
{
	unsigned int first = draw(r, PAGES), n = 1 + draw(r, PAGES - first);
	char *start = r->mem + first * 4096UL;

	if (draw(r, 2))
		madvise(start, n * 4096UL, MADV_DONTNEED);
	else
		mmap(start, n * 4096UL, PROT_READ | PROT_WRITE, MAP_FIXED |
		     MAP_ANONYMOUS | (draw(r, 2) ? MAP_SHARED : MAP_PRIVATE), -1, 0);
}

static void (*const races[])(struct racer *) = {
	race_map, race_map, race_unmap, race_page, race_batch, race_start,
	race_reset, race_renew, race_status, race_suspend, race_ring, race_address,
	race_eventfd, race_kick, race_features, race_config, race_owner, race_memory,
};

/* Those that would do harm to each other if nothing kept them apart */
static void (*const collisions[][AT_ONCE])(struct racer *) = {
	{ race_map, race_map, race_unmap, race_batch },
	{ race_map, race_map, race_unmap, race_renew },
	{ race_start, race_start, race_reset, race_kick },
	{ race_start, race_reset, race_eventfd, race_address },
	{ race_map, race_unmap, race_renew, race_memory },
};

#define COLLISIONS	(sizeof(collisions) / sizeof(*collisions))

/*
 * In turn: some that collide, on one device, and any, on all devices. Of few kinds, two
 * meet more often.
 */
static void choose_races(struct racer *r)
{
	unsigned int round = r->a->round, i;

	r->n = round & 1 ? r->a->n : 1;
	if (!(round & 1)) {
		memcpy(r->ops, collisions[round / 2 % COLLISIONS], sizeof(r->ops));
		return;
	}
	for (i = 0; i < AT_ONCE; i++)
		r->ops[i] = races[draw(r, sizeof(races) / sizeof(*races))];
}

static void count(struct arena *a, bool done)
{
	__atomic_add_fetch(a->tried, 1, __ATOMIC_RELAXED);
	if (done)
		__atomic_add_fetch(a->done, 1, __ATOMIC_RELAXED);
}

static void *race(void *arg)
{
	struct racer *r = arg;

	for (;;) {
		r->c = &r->clients[draw(r, r->n)];
		r->ops[draw(r, AT_ONCE)](r);
		count(r->a, true);
	}

	return NULL;
}

static void interrupted(int sig)
{
}

/* All of the group are interrupted now and then */
static void race_in_threads(struct racer *like, unsigned int threads)
{
	static struct racer racers[THREADS];
	pthread_t thread;
	unsigned int i;

	for (i = 0; i < threads; i++) {
		racers[i] = *like;
		racers[i].state += threads * THREADS + i;
		draw(&racers[i], 2);
		if (pthread_create(&thread, NULL, race, &racers[i]))
			_exit(1);
	}
	for (;;) {
		usleep(1000 + draw(like, 20000));
		kill(0, SIGUSR1);
	}
}

static int client_of_old_or_new(struct vdpa_client *c, const struct vdpa_dev *dev,
				bool new)
{
	int r = client_open(c, dev, 0);

	if (!r)
		r = client_ack(c, new ? c->features : F_BASIC);

	return r ? r : client_map(c);
}

/* The first of a process group of its own */
static void racer_init(struct racer *r, struct arena *a)
{
	static struct vdpa_client clients[DEVICES];

	memset(r, 0, sizeof(*r));
	setpgid(0, 0);
	end_with_parent();
	r->a = a;
	r->clients = clients;
	r->state = a->seed + 100 * a->round;
	r->mem = vdpa_dev_alloc(&a->devs[0], PAGES * 4096UL);
	if (!r->mem)
		_exit(1);
}

/*
 * Two processes with the same files. The second has not got the memory, and the kernel
 * refuses it what is the owner's.
 */
static void race_until_killed(struct arena *a, int ready)
{
	struct vdpa_client *clients;
	struct racer r;
	unsigned int i;
	pid_t second;

	racer_init(&r, a);
	clients = r.clients;
	signal(SIGUSR1, interrupted);
	for (i = 0; i < a->n; i++)
		if (client_of_old_or_new(&clients[i], &a->devs[i], draw(&r, 2)))
			_exit(1);
	choose_races(&r);
	if (write(ready, "", 1) != 1)
		_exit(1);
	second = fork();
	if (!second)
		end_with_parent();
	race_in_threads(&r, second ? THREADS : 1);
}

/* There may be no device, or somebody who has it open */
static void visit(struct racer *r)
{
	unsigned int i = draw(r, r->a->n), n = draw(r, 8);
	bool open;

	r->c = &r->clients[i];
	open = !client_of_old_or_new(r->c, &r->a->devs[i], draw(r, 2));
	while (open && n--)
		races[draw(r, sizeof(races) / sizeof(*races))](r);
	client_close(r->c);
	count(r->a, open);
}

/* Two processes that open a device, use it and close it, and each other's next */
static void visit_until_killed(struct arena *a, int ready)
{
	struct racer r;

	racer_init(&r, a);
	if (write(ready, "", 1) != 1)
		_exit(1);
	if (!fork()) {
		end_with_parent();
		r.state++;
		draw(&r, 2);
	}
	for (;;)
		visit(&r);
}

FIXTURE(races)
{
	struct arena a;
	long pins;
};

FIXTURE_VARIANT(races)
{
	struct vdpa_parent parent;
};

FIXTURE_VARIANT_ADD(races, net_set_map)
{
	.parent = SIM_NET(true),
};

FIXTURE_VARIANT_ADD(races, net_dma_map)
{
	.parent = SIM_NET(false),
};

FIXTURE_VARIANT_ADD(races, blk_set_map)
{
	.parent = SIM_BLK(true),
};

FIXTURE_VARIANT_ADD(races, net_mlx5)
{
	.parent = MLX5_NET,
};

FIXTURE_VARIANT_ADD(races, vduse_blk)
{
	.parent = VDUSE_BLK,
};

/* Some parents have no second device */
static int arena_get(struct arena *a, const struct vdpa_parent *parent, const char **why)
{
	int r = vdpa_dev_get(&a->devs[0], parent, why);

	if (!r && a->devs[0].created)
		a->n = vdpa_dev_get_second(&a->devs[1], parent) ? 1 : 2;

	return r;
}

static void arena_put(struct arena *a)
{
	while (a->n)
		vdpa_dev_put(&a->devs[--a->n]);
}

FIXTURE_SETUP(races)
{
	const char *seed = getenv("SEED"), *why;
	int r = arena_get(&self->a, &variant->parent, &why);

	if (!r && !self->a.n)
		SKIP(return, "does not upset the device that -d names");
	SKIP_IF_MISSING(r, why);
	self->a.done = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->a.done);
	self->a.tried = self->a.done + 1;
	self->a.race = race_until_killed;
	self->a.seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	/* Now, or nobody knows if the kernel dies */
	TH_LOG("SEED=%llu", (unsigned long long)self->a.seed);
	self->pins = pins_in_system();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

FIXTURE_TEARDOWN(races)
{
	arena_put(&self->a);
	/* No round: it was skipped */
	if (self->a.round)
		EXPECT_LT(0UL, self->a.ever);
	EXPECT_EQ(0, vdpa_violations(&self->a.devs[0])) {
		TH_LOG("%s", vdpa_violation(&self->a.devs[0]));
	}
	EXPECT_EQ(self->pins, pins_in_system());
}

/* Returns the number of the process group, once it races */
static pid_t racers_start(struct arena *a)
{
	int ready[2];
	pid_t pid;
	char c;

	if (pipe(ready))
		return -errno;
	*a->tried = 0;
	*a->done = 0;
	pid = fork();
	if (!pid) {
		close(ready[0]);
		a->race(a, ready[1]);
	}
	close(ready[1]);
	if (pid > 0 && read(ready[0], &c, 1) != 1) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		pid = -ENODEV;
	}
	close(ready[0]);

	return pid;
}

/* Returns how many have ended in another way before */
static int racers_kill(pid_t group)
{
	int status, others = 0;

	kill(-group, SIGKILL);
	while (waitpid(-group, &status, 0) > 0)
		others += !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;

	return others;
}

static void wait_for_operations(const struct arena *a, unsigned int n)
{
	uint64_t end = now_ms() + LONGEST_MS;

	while (__atomic_load_n(a->tried, __ATOMIC_RELAXED) < n && now_ms() < end)
		usleep(500);
}

/*
 * One round, in which another process may take the first device away, which has
 * to wait until the file is closed. Returns what that returns.
 */
static int race_round(struct arena *a, int (*take_away)(struct vdpa_dev *dev))
{
	struct racer r = { .state = ~a->seed + a->round };
	pid_t group = racers_start(a), pid = 0;
	unsigned int early, late;
	int status = 0, others;

	if (group < 0)
		return group;
	early = draw(&r, OPERATIONS);
	late = early + draw(&r, OPERATIONS - early);
	if (take_away)
		pid = fork();
	if (take_away && !pid) {
		wait_for_operations(a, early);
		_exit(-take_away(&a->devs[0]));
	}
	wait_for_operations(a, late);
	others = racers_kill(group);
	a->ever += *a->done;
	if (pid && (pid < 0 || waitpid(pid, &status, 0) != pid))
		return -ECHILD;
	if (others)
		return -ESRCH;

	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

/* A new client: -EBUSY, the one before is still there */
static int next_client_works(const struct vdpa_dev *dev)
{
	struct vdpa_client c;
	int r;

	r = client_of_old_or_new(&c, dev, true);
	if (!r)
		r = client_start(&c);
	if (!r)
		r = client_io(&c, IO_TIMEOUT_MS);
	client_close(&c);

	return r;
}

#define FOR_EACH_ROUND()						\
	for (self->a.round = 0;						\
	     self->a.round < vdpa_rounds(100) && HAS_PASSED; self->a.round++)

#define EXPECT_IN_ROUND(_expected, _seen)				\
do {									\
	EXPECT_EQ(_expected, _seen) {					\
		TH_LOG("in round %u", self->a.round);			\
	}								\
} while (0)

/* Those that race are gone then, and with them their pins */
#define RACE(_take_away)						\
do {									\
	EXPECT_IN_ROUND(0, race_round(&self->a, _take_away));		\
	EXPECT_IN_ROUND(self->pins, pins_in_system());			\
} while (0)

TEST_F_TIMEOUT(races, killed_at_any_moment, 1800)
{
	unsigned int i;

	FOR_EACH_ROUND() {
		RACE(NULL);
		for (i = 0; i < self->a.n; i++)
			EXPECT_IN_ROUND(0, next_client_works(&self->a.devs[i]));
	}
}

static int bind_virtio(struct vdpa_dev *dev)
{
	return vdpa_bind(dev, "virtio_vdpa");
}

TEST_F_TIMEOUT(races, taken_away_meanwhile, 1800)
{
	FOR_EACH_ROUND() {
		RACE(bind_virtio);
		EXPECT_IN_ROUND(0, virtio_io(&self->a.devs[0]));
		ASSERT_EQ(0, vdpa_bind(&self->a.devs[0], "vhost_vdpa"));
	}
}

static int delete(struct vdpa_dev *dev)
{
	return vdpa_dev_del(dev);
}

TEST_F_TIMEOUT(races, deleted_meanwhile, 1800)
{
	const char *why;

	FOR_EACH_ROUND() {
		RACE(delete);
		/* Whoever served it goes, too */
		self->a.devs[0].created = false;
		arena_put(&self->a);
		EXPECT_IN_ROUND(0, vdpa_violations(&self->a.devs[0]));
		ASSERT_EQ(0, arena_get(&self->a, &variant->parent, &why));
		EXPECT_IN_ROUND(0, next_client_works(&self->a.devs[0]));
	}
}

#define TRIES	100U

/*
 * What serves a VDUSE device has the module in use, and there it is enough that it
 * is asked for again and again: then the device goes, and the caller ends the rest.
 */
static int remove_module(struct vdpa_dev *dev)
{
	unsigned int tries = TRIES;
	int r;

	do {
		r = vdpa_remove_module(dev->parent);
	} while (r == -EAGAIN && dev->daemon && --tries);

	return r == -EAGAIN && dev->daemon ? vdpa_dev_del(dev) : r;
}

/* The devices were its own; true: it is no more */
static bool module_is_removed(struct arena *a)
{
	unsigned int i;
	int r;

	for (i = 0; i < a->n; i++)
		a->devs[i].created = false;
	arena_put(a);
	r = vdpa_remove_module(a->devs[0].parent);

	return !r || r == -ENOENT;
}

TEST_F_TIMEOUT(races, module_removed_meanwhile, 1800)
{
	const char *why;

	if (vdpa_dev_of_others())
		SKIP(return, "the module may have devices of somebody else");
	self->a.race = visit_until_killed;
	FOR_EACH_ROUND() {
		RACE(remove_module);
		ASSERT_TRUE(module_is_removed(&self->a));
		EXPECT_IN_ROUND(0, vdpa_violations(&self->a.devs[0]));
		ASSERT_EQ(0, arena_get(&self->a, &variant->parent, &why));
		EXPECT_IN_ROUND(0, next_client_works(&self->a.devs[0]));
	}
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
