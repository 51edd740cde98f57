// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "util.h"

#define DEBUGFS "/sys/kernel/debug/"

static int fault_fd = -1;

int fault_init(void)
{
	if (fault_fd < 0)
		fault_fd = open("/proc/thread-self/fail-nth",
				O_RDWR | O_CLOEXEC);
	if (fault_fd < 0 ||
	    write_file(DEBUGFS "failslab/ignore-gfp-wait", "N") ||
	    write_file(DEBUGFS "failslab/verbose", "0"))
		return -ENOENT;

	/* Not all kernels that have the one have the other */
	write_file(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N");
	write_file(DEBUGFS "fail_page_alloc/min-order", "0");
	write_file(DEBUGFS "fail_page_alloc/verbose", "0");

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
