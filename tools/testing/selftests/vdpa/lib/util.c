// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);

	return r;
}

int read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';

	return 0;
}

long read_key(const char *path, const char *key)
{
	FILE *f = fopen(path, "r");
	size_t len = strlen(key);
	char line[256];
	long val = -1;

	if (!f)
		return -1;
	while (val < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, len))
			val = strtol(line + len, NULL, 10);
	fclose(f);

	return val;
}

int find_one(const char *pattern, char *path, size_t size)
{
	glob_t g;

	if (glob(pattern, 0, NULL, &g))
		return -ENOENT;
	snprintf(path, size, "%s", g.gl_pathv[0]);
	globfree(&g);

	return 0;
}

int run_program(char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0)
		return -errno;

	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

/* A busy machine may take its time */
#define WAIT_MS	30000

/* How long a kernel may not say where a process waits, until it is one that cannot */
#define WCHAN_MS	1000

static bool is_asleep(pid_t pid)
{
	char path[64], line[256], *state;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (read_file(path, line, sizeof(line)))
		return false;
	state = strrchr(line, ')');

	return state && (!strncmp(state, ") S", 3) || !strncmp(state, ") D", 3));
}

int await_wait(pid_t pid, const char *function)
{
	uint64_t end = now_ms() + WAIT_MS, known = now_ms();
	char path[64], in[128] = "";

	snprintf(path, sizeof(path), "/proc/%d/wchan", pid);
	while (read_file(path, in, sizeof(in)) || strncmp(in, function, strlen(function))) {
		if (strcmp(in, "0") || !is_asleep(pid))
			known = now_ms();
		/* It waits somewhere, and this is all that can be seen */
		if (now_ms() > known + WCHAN_MS)
			return 0;
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(1000);
	}

	return 0;
}

long sleeps_ever(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);

	return read_key(path, "voluntary_ctxt_switches:");
}

int await_wakeup(pid_t pid, long sleeps)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (sleeps_ever(pid) <= sleeps) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(1000);
	}

	return 0;
}

void give_up(const char *why)
{
	fprintf(stderr, "# %s\n", why);
	abort();
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}
