// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dev.h"
#include "fault.h"
#include "mem.h"
#include "mlx5_model.h"
#include "parent.h"
#include "supervise.h"
#include "util.h"

#define ARRAY_SIZE(_a)	(sizeof(_a) / sizeof((_a)[0]))
#define FAULT(_which)	"/sys/kernel/debug/" _which

/* What tests change, and what it is if they have loaded the module themselves */
static struct setting {
	const char *path;
	char value[64];
} settings[] = {
	{ "/sys/module/vdpa_sim/parameters/check_pins", "N" },
	{ FAULT("failslab/cache-filter"), "" },
	{ FAULT("failslab/ignore-gfp-wait"), "" },
	{ FAULT("failslab/verbose"), "" },
	{ FAULT("fail_page_alloc/ignore-gfp-wait"), "" },
	{ FAULT("fail_page_alloc/min-order"), "" },
	{ FAULT("fail_page_alloc/verbose"), "" },
	{ HUGE_POOL "nr_hugepages", "" },
	{ "/sys/kernel/mm/transparent_hugepage/shmem_enabled", "" },
};

/* "always [never]" is never */
static void read_setting(struct setting *s)
{
	char line[128], *chosen;

	if (read_file(s->path, line, sizeof(line)))
		return;
	chosen = strchr(line, '[');
	chosen = chosen ? strtok(chosen + 1, "]") : line;
	snprintf(s->value, sizeof(s->value), "%.63s", chosen);
}

/* Of the model, whose driver has to be bound anew for it. The default is 0 */
static struct firmware {
	const char *file;
	long value;
} firmware[] = {
	{ "freeze_to_rdy", 0 },
	{ "desc_group", 0 },
};

static bool sim_was_standard;

static void save(void)
{
	unsigned int i;

	sim_was_standard = sim_is_standard();
	for (i = 0; i < ARRAY_SIZE(firmware); i++)
		firmware[i].value = mlx5_mock_get(firmware[i].file) > 0;
	for (i = 0; i < ARRAY_SIZE(settings); i++)
		read_setting(&settings[i]);
}

static void restore(void)
{
	unsigned int i;
	long now;

	/* With limits that only a test needs, it is of no use to others */
	if (sim_was_standard && !sim_is_standard())
		sim_ops.unload();
	for (i = 0; i < ARRAY_SIZE(firmware); i++) {
		now = mlx5_mock_get(firmware[i].file);
		if (now >= 0 && now != firmware[i].value)
			mlx5_mock_set_firmware(firmware[i].file, firmware[i].value);
	}
	for (i = 0; i < ARRAY_SIZE(settings); i++)
		if (settings[i].value[0])
			write_file(settings[i].path, settings[i].value);
}

void end_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/*
 * Programs of this kind delete each other's devices, so that one has to be alone. What
 * it leaves behind does not count. Returns a file to close
 */
static int be_alone(const char *program)
{
	int fd;

	/* With -d it deletes none */
	if (vdpa_given.name[0])
		return -1;
	fd = open("/sys/bus", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || !flock(fd, LOCK_EX | LOCK_NB))
		return fd;
	fprintf(stderr, "%s: there is another program that has such devices\n", program);
	exit(1);
}

static int child(int (*run)(int argc, char **argv), int argc, char **argv)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	end_with_parent();

	return run(argc, argv);
}

/* Until it has ended by itself or is told to */
static int await(pid_t pid, const sigset_t *signals)
{
	int status = 0, sig;

	while (!sigwait(signals, &sig)) {
		if (sig != SIGCHLD) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return 128 + sig;
		}
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
	}

	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int vdpa_supervise(int (*run)(int argc, char **argv), int argc, char **argv)
{
	sigset_t signals;
	int status, i, alone = be_alone(argv[0]);
	pid_t pid;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	/* What a process leaves behind is ours, to wait for */
	prctl(PR_SET_CHILD_SUBREAPER, 1);

	save();
	pid = fork();
	if (pid < 0)
		return 1;
	if (!pid) {
		close(alone);
		exit(child(run, argc, argv));
	}
	status = await(pid, &signals);
	/*
	 * All that belong to it are killed by now; what they had open is closed,
	 * unless one of them hangs in the kernel
	 */
	for (i = 0; i < 3000 && waitpid(-1, NULL, WNOHANG) >= 0; i++)
		usleep(10000);
	faults_stop();
	vdpa_dev_cleanup();
	restore();
	close(alone);

	return status;
}
