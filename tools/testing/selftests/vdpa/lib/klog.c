// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klog.h"

int log_errors(char *line, size_t size)
{
	static int fd = -1;
	char rec[8192];
	int n = 0;
	ssize_t len;

	if (fd < 0) {
		fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
		if (fd < 0)
			return -errno;
		lseek(fd, 0, SEEK_END);
	}

	while ((len = read(fd, rec, sizeof(rec) - 1)) > 0 || errno == EPIPE) {
		if (len <= 0)
			continue;
		rec[len] = '\0';
		/* "<priority>,...;<text>"; 3 is KERN_ERR */
		if ((strtol(rec, NULL, 10) & 7) > 3)
			continue;
		/* x86: an interrupt that was on its way when it was freed */
		if (strstr(rec, "unexpected IRQ trap at vector"))
			continue;
		if (!n++ && line)
			snprintf(line, size, "%s", strchr(rec, ';') + 1);
	}

	return n;
}
