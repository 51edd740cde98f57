// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klog.h"

/* Lines that are called errors and say nothing about what the tests are after */
static bool is_harmless(const char *rec)
{
	static const char *const lines[] = {
		/* x86: an interrupt that was on its way when it was freed */
		"unexpected IRQ trap at vector",
		/*
		 * mlx5_vdpa of Linux 7: a command that firmware refuses, be it
		 * because a test asks for it, or as the device has found a fault
		 * in a queue, which cannot be suspended then
		 */
		"error creating MTT mkey",
		"create map failed(",
		"failed, state: 1 -> 2",
		NULL,
	};
	const char *const *line;

	for (line = lines; *line; line++)
		if (strstr(rec, *line))
			return true;

	return false;
}

/* Behind all that is there, if *@fd is not open yet */
static int open_log(int *fd)
{
	if (*fd >= 0)
		return 0;
	*fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (*fd < 0)
		return -errno;
	lseek(*fd, 0, SEEK_END);

	return 0;
}

/* The next one that is still there. False: there is none */
static bool next_record(int fd, char *rec, size_t size)
{
	ssize_t len;

	do {
		len = read(fd, rec, size - 1);
	} while (len < 0 && errno == EPIPE);
	if (len <= 0)
		return false;
	rec[len] = '\0';

	return true;
}

int log_errors(char *line, size_t size)
{
	static int fd = -1;
	char rec[8192];
	int n = open_log(&fd);

	if (n)
		return n;
	while (next_record(fd, rec, sizeof(rec))) {
		/* "<priority>,...;<text>"; 3 is KERN_ERR */
		if ((strtol(rec, NULL, 10) & 7) > 3 || is_harmless(rec))
			continue;
		if (!n++ && line)
			snprintf(line, size, "%s", strchr(rec, ';') + 1);
	}

	return n;
}

int log_lines(const char *text)
{
	static int fd = -1;
	char rec[8192];
	int n = open_log(&fd);

	if (n)
		return n;
	while (next_record(fd, rec, sizeof(rec)))
		if (strstr(rec, text))
			n++;

	return n;
}
