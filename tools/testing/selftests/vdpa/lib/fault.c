// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "mlx5_model.h"
#include "util.h"

/* More than any sequence comes near */
#define MAX_FAULTS 2000

#define DEBUGFS "/sys/kernel/debug/"

static int fault_fd = -1;
static pid_t fault_of;		/* whose faults these are */

/* No block of pages has order 32, and no cache passes the filter */
static int count_faults(bool pages, bool objects)
{
	return write_file(DEBUGFS "fail_page_alloc/min-order", pages ? "0" : "32") ?:
	       write_file(DEBUGFS "failslab/cache-filter", objects ? "N" : "Y");
}

int fault_init(void)
{
	/* What a child has of its parent would have the parent fail */
	if (fault_fd >= 0 && fault_of != getpid()) {
		close(fault_fd);
		fault_fd = -1;
	}
	fault_of = getpid();
	if (fault_fd < 0)
		fault_fd = open("/proc/thread-self/fail-nth",
				O_RDWR | O_CLOEXEC);
	if (fault_fd < 0 ||
	    write_file(DEBUGFS "failslab/ignore-gfp-wait", "N") ||
	    write_file(DEBUGFS "failslab/verbose", "0") ||
	    write_file(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N") ||
	    write_file(DEBUGFS "fail_page_alloc/verbose", "0") ||
	    count_faults(true, true))
		return -ENOENT;

	return 0;
}

void fault_arm(unsigned int nth)
{
	char buf[16];
	int n = snprintf(buf, sizeof(buf), "%u", nth);

	if (pwrite(fault_fd, buf, n, 0) != n)
		abort();
}

bool fault_disarm(void)
{
	char buf[16];
	int n = pread(fault_fd, buf, sizeof(buf) - 1, 0);

	if (n <= 0)
		abort();
	buf[n] = '\0';
	fault_arm(0);

	return atoi(buf) == 0;
}

bool fault_next(struct faults *f)
{
	if (f->nth && !f->failed) {
		if (f->objects)
			return false;
		f->objects = true;
		f->pages = f->nth - 1;
		f->nth = 0;
	}
	if (f->nth == MAX_FAULTS)
		return false;
	if (!f->nth && count_faults(!f->objects, f->objects))
		give_up("cannot choose what fails");
	fault_arm(++f->nth);

	return true;
}

static int memory_arm(const struct fault_source *source, unsigned int nth)
{
	int r = fault_init();

	if (!r)
		fault_arm(nth);

	return r;
}

static bool memory_disarm(const struct fault_source *source)
{
	return fault_disarm();
}

const struct fault_source memory_fault = {
	.name = "memory",
	.arm = memory_arm,
	.disarm = memory_disarm,
};

int fault_run(const struct fault_source *source, struct vdpa_dev *dev,
	      unsigned int nth, bool *failed, int (*op)(void *arg), void *arg)
{
	int r;

	*failed = false;
	if (source->run)
		return source->run(source, dev, nth, failed, op, arg);

	if (source->arm(source, nth))
		return -ENODATA;
	r = op(arg);
	*failed = source->disarm(source);

	return r;
}

#define SIM_DEBUGFS	DEBUGFS "vdpa_sim/"
#define SIM_ALWAYS	1000000

static int sim_set(const char *op, const char *file, unsigned int val)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), SIM_DEBUGFS "%s/%s", op, file);
	snprintf(text, sizeof(text), "%u", val);

	return write_file(path, text);
}

int sim_fail(const char *op, unsigned int nth, bool always)
{
	return sim_set(op, "verbose", 0) ?:
	       sim_set(op, "space", nth) ?:
	       sim_set(op, "times", always ? SIM_ALWAYS : 1) ?:
	       sim_set(op, "probability", 100);
}

bool sim_fail_stop(const char *op)
{
	char path[128], left[16];

	sim_set(op, "probability", 0);
	snprintf(path, sizeof(path), SIM_DEBUGFS "%s/times", op);
	if (read_file(path, left, sizeof(left)))
		return false;

	return atoi(left) != 1 && atoi(left) != SIM_ALWAYS;
}

/* As they are when the module is loaded */
static void reset_faults(const char *file, const char *value)
{
	char pattern[128];
	glob_t found;
	size_t i;

	snprintf(pattern, sizeof(pattern), SIM_DEBUGFS "*/%s", file);
	if (glob(pattern, 0, NULL, &found))
		return;
	for (i = 0; i < found.gl_pathc; i++)
		write_file(found.gl_pathv[i], value);
	globfree(&found);
}

void faults_stop(void)
{
	reset_faults("probability", "0");
	reset_faults("space", "0");
	reset_faults("times", "1");
	reset_faults("verbose", "2");
	mlx5_mock_disarm();
	mlx5_mock_set("check_pins", 0);
	mlx5_mock_set("delay_us", 0);
	mlx5_mock_set("hold_irqs", 0);
	mlx5_mock_set("link", 1);
	mlx5_mock_set("issue_err", 0);
	mlx5_mock_set("async_all", 0);
	mlx5_mock_set("max_async", MLX5_MAX_ASYNC);
}
