/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For tests, after kselftest_harness.h: all of the library, and the macros that
 * tests share. A fixture has its device in self->dev and its client, if there is
 * one, in self->c. After a failure a test goes on with EXPECT_..., and ends with
 * every other macro.
 */
#ifndef SELFTEST_VDPA_TEST_H
#define SELFTEST_VDPA_TEST_H

#include <errno.h>

#include "client.h"
#include "dev.h"
#include "fault.h"
#include "io.h"
#include "klog.h"
#include "main.h"
#include "mem.h"
#include "mlx5_model.h"
#include "netlink.h"
#include "packed.h"
#include "parent.h"
#include "reach.h"
#include "util.h"
#include "vduse_daemon.h"
#include "virtio.h"

/* What takes a second may take a minute with all debugging aids under emulation */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 240

/* The harness that has XFAIL_ADD keeps one exit code, where it had two flags before */
#ifdef XFAIL_ADD
#define HAS_PASSED	(_metadata->exit_code == KSFT_PASS)
#define SET_SKIPPED()	(_metadata->exit_code = KSFT_SKIP)
#else
#define HAS_PASSED	(_metadata->passed)
#define SET_SKIPPED()	(_metadata->skip = 1)
#endif

/* As the harness has it, but what failed before a skip has failed */
#undef SKIP
#define SKIP(statement, fmt, ...)					\
do {									\
	if (HAS_PASSED) {						\
		snprintf(_metadata->results->reason,			\
			 sizeof(_metadata->results->reason), fmt,	\
			 ##__VA_ARGS__);				\
		TH_LOG("SKIP: %s", _metadata->results->reason);		\
		SET_SKIPPED();						\
	}								\
	_metadata->trigger = 0;						\
	statement;							\
} while (0)

/*
 * What vdpa_dev_get() and others say of what is not there: any other error is that of
 * something which is there, and does not work
 */
#define SKIP_IF_MISSING(_result, _why)					\
do {									\
	int _missing = (_result);					\
									\
	if (_missing) {							\
		const char *_reason = (_why);				\
									\
		if (_missing == -ENOENT || _missing == -ENODEV)		\
			SKIP(return, "%s", _reason);			\
		ASSERT_EQ(0, _missing) {				\
			TH_LOG("%s", _reason);				\
		}							\
	}								\
} while (0)

/* In the client's address space; for a test to expect a result of */
#define map_at(_iova, _addr, _size)					\
	client_map_at(&self->c, self->c.asid, _iova, _addr, _size)
#define unmap_at(_iova, _size)						\
	client_unmap_at(&self->c, self->c.asid, _iova, _size)
#define batch_begin()	client_batch(&self->c, self->c.asid, true)
#define batch_end()	client_batch(&self->c, self->c.asid, false)

/* Refused with @_errno, or as kernels do that have one answer for all messages */
#define EXPECT_REFUSED(_errno, _result)					\
do {									\
	int _r = (_result);						\
									\
	EXPECT_TRUE(_r == (_errno) || _r == -EFAULT) {			\
		TH_LOG("returned %d", _r);				\
	}								\
} while (0)

#define START()								\
	ASSERT_EQ(0, client_start(&self->c))

#define EXPECT_IO()							\
	EXPECT_EQ(0, client_io(&self->c, IO_TIMEOUT_MS))

#define ASSERT_IO()							\
	ASSERT_EQ(0, client_io(&self->c, IO_TIMEOUT_MS))

#define EXPECT_NO_IO()							\
	EXPECT_EQ(0, client_no_io(&self->c))

/* A device that works in its client's page */
#define MAP_AND_START()							\
do {									\
	ASSERT_EQ(0, client_map(&self->c));				\
	START();							\
	ASSERT_IO();							\
} while (0)

/* virtio-vdpa can follow, and vhost-vdpa after it */
#define ASSERT_VIRTIO_IO()						\
do {									\
	ASSERT_EQ(0, vdpa_bind(&self->dev, "virtio_vdpa"));		\
	ASSERT_EQ(0, virtio_io(&self->dev));				\
	ASSERT_EQ(0, vdpa_bind(&self->dev, "vhost_vdpa"));		\
} while (0)

/* The driver did nothing that no driver may do */
#define EXPECT_NO_VIOLATIONS()						\
do {									\
	EXPECT_EQ(0, vdpa_violations(&self->dev)) {			\
		TH_LOG("%s", vdpa_violation(&self->dev));		\
	}								\
} while (0)

/* Nothing was logged as an error since the last call; needs self->log */
#define EXPECT_NO_LOG()							\
do {									\
	EXPECT_EQ(0, log_errors(self->log, sizeof(self->log))) {	\
		TH_LOG("first error in the log: %s", self->log);	\
	}								\
} while (0)

#endif
