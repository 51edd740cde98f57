// SPDX-License-Identifier: GPL-2.0
/*
 * A VDUSE daemon dies: before it reads a message, before it answers it, or after
 * that, for each message of what a client or a bus driver does. With another
 * daemon to follow, all of it works, and so does the next owner of the device.
 * What needs no daemon, such as to close the file, does not wait for one.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib/test.h"

/* VDUSE waits 30 s for an answer: nothing may need so long */
#define AT_ONCE_S	20

static const struct vdpa_parent parent = VDUSE_BLK;

FIXTURE(deaths)
{
	struct vdpa_dev dev;
	struct vduse_daemon *daemon;
	struct vdpa_client c;
};

FIXTURE_VARIANT(deaths)
{
	enum vduse_death death;
};

FIXTURE_VARIANT_ADD(deaths, before)
{
	.death = VDUSE_DIES_BEFORE,
};

FIXTURE_VARIANT_ADD(deaths, unanswered)
{
	.death = VDUSE_DIES_UNANSWERED,
};

FIXTURE_VARIANT_ADD(deaths, answered)
{
	.death = VDUSE_DIES_ANSWERED,
};

FIXTURE_SETUP(deaths)
{
	const char *why;

	self->c.fd = -1;
	SKIP_IF_MISSING(vdpa_dev_get(&self->dev, &parent, &why), why);
	self->daemon = self->dev.daemon;
	if (!self->daemon)
		SKIP(return, "needs a daemon of its own");
	vduse_daemon_keep(self->daemon, true);
}

FIXTURE_TEARDOWN(deaths)
{
	client_close(&self->c);
	vdpa_dev_put(&self->dev);
}

static int seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec;
}

/*
 * Do this with a daemon that dies at the nth message of it, and with a successor
 * to the daemon, at once or when all is done. False: there is no nth message.
 */
static bool works_with_death(struct __test_metadata *_metadata,
			     struct _test_data_deaths *self, enum vduse_death death,
			     unsigned int nth, bool successor,
			     int (*op)(void *arg))
{
	int result = 0, start = seconds();
	bool died = false;

	ASSERT_EQ(0, vduse_daemon_fail_during(self->daemon, nth, death, successor,
					      &died, op, self, &result));
	EXPECT_EQ(0, result) {
		TH_LOG("death at message %u", nth);
	}
	EXPECT_GE(AT_ONCE_S, seconds() - start) {
		TH_LOG("death at message %u", nth);
	}

	return died;
}

static int op_open(void *arg)
{
	struct _test_data_deaths *self = arg;

	return client_open(&self->c, &self->dev, 0) ?:
	       client_ack(&self->c, self->c.features);
}

static int op_start(void *arg)
{
	struct _test_data_deaths *self = arg;

	return client_map(&self->c) ?: client_start(&self->c);
}

static int op_io(void *arg)
{
	struct _test_data_deaths *self = arg;

	return client_io(&self->c, IO_TIMEOUT_MS);
}

static int op_reset(void *arg)
{
	struct _test_data_deaths *self = arg;

	return client_reset(&self->c);
}

/* A client that leaves with its guest has to know where the device has stopped */
static int op_bases(void *arg)
{
	struct _test_data_deaths *self = arg;
	int r = client_get_bases(&self->c);

	if (r)
		return r;

	return self->c.base[0] == self->c.page->ring[0].used.idx ? 0 : -EBADMSG;
}

static int op_unmap(void *arg)
{
	struct _test_data_deaths *self = arg;

	return client_unmap(&self->c);
}

static int op_close(void *arg)
{
	struct _test_data_deaths *self = arg;

	client_close(&self->c);

	return 0;
}

/* The client leaves its mappings behind */
static int op_to_virtio(void *arg)
{
	struct _test_data_deaths *self = arg;

	client_close(&self->c);

	return vdpa_bind(&self->dev, "virtio_vdpa") ?: virtio_io(&self->dev);
}

static int op_to_vhost(void *arg)
{
	struct _test_data_deaths *self = arg;

	return vdpa_bind(&self->dev, "vhost_vdpa") ?: op_open(self);
}

#define ASSERT_OP(_op)							\
	ASSERT_EQ(0, _op(self))

/* Followed by what has to work after each of them, and leads to the next one */
#define FOR_EACH_DEATH(_op, _successor)					\
	for (unsigned int nth = 1;					\
	     works_with_death(_metadata, self, variant->death, nth,	\
			      _successor, _op);				\
	     nth++)

#define ASSERT_CLIENT_WORKS()						\
do {									\
	ASSERT_OP(op_start);						\
	ASSERT_OP(op_io);						\
} while (0)

TEST_F(deaths, at_open)
{
	FOR_EACH_DEATH(op_open, true) {
		ASSERT_CLIENT_WORKS();
		client_close(&self->c);
	}
	ASSERT_CLIENT_WORKS();
}

TEST_F(deaths, at_map_and_start)
{
	ASSERT_OP(op_open);
	FOR_EACH_DEATH(op_start, true) {
		ASSERT_OP(op_io);
		ASSERT_OP(op_reset);
		ASSERT_OP(op_unmap);
	}
	ASSERT_OP(op_io);
}

TEST_F(deaths, at_the_question_where_a_ring_is)
{
	ASSERT_OP(op_open);
	ASSERT_CLIENT_WORKS();
	FOR_EACH_DEATH(op_bases, true)
		ASSERT_OP(op_io);
}

TEST_F(deaths, at_unmap_with_no_successor)
{
	ASSERT_OP(op_open);
	ASSERT_CLIENT_WORKS();
	FOR_EACH_DEATH(op_unmap, false) {
		ASSERT_OP(op_reset);
		ASSERT_CLIENT_WORKS();
	}
}

TEST_F(deaths, at_reset_with_no_successor)
{
	ASSERT_OP(op_open);
	ASSERT_CLIENT_WORKS();
	FOR_EACH_DEATH(op_reset, false) {
		START();
		ASSERT_OP(op_io);
	}
	START();
	ASSERT_OP(op_io);
}

TEST_F(deaths, at_close_with_no_successor)
{
	ASSERT_OP(op_open);
	ASSERT_CLIENT_WORKS();
	FOR_EACH_DEATH(op_close, false) {
		ASSERT_OP(op_open);
		ASSERT_CLIENT_WORKS();
	}
	ASSERT_OP(op_open);
	ASSERT_CLIENT_WORKS();
}

TEST_F_TIMEOUT(deaths, at_hand_over_to_virtio_vdpa, 240)
{
	ASSERT_OP(op_open);
	ASSERT_CLIENT_WORKS();
	FOR_EACH_DEATH(op_to_virtio, true) {
		ASSERT_OP(op_to_vhost);
		ASSERT_CLIENT_WORKS();
	}
}

TEST_F_TIMEOUT(deaths, at_hand_over_to_vhost_vdpa, 240)
{
	ASSERT_OP(op_to_virtio);
	FOR_EACH_DEATH(op_to_vhost, true) {
		ASSERT_CLIENT_WORKS();
		ASSERT_OP(op_to_virtio);
	}
	ASSERT_CLIENT_WORKS();
}

int main(int argc, char **argv)
{
	return vdpa_test_main(argc, argv);
}
