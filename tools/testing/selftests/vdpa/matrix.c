// SPDX-License-Identifier: GPL-2.0
/*
 * Who can follow whom: for each parent, each way from one owner of the device to
 * the next, and each way in which the first one leaves. The next owner must have
 * a device that moves data, compared byte by byte, and of the first one nothing
 * may be left: not pinned, not within reach, and no complaint in the log.
 *
 *   matrix [-r ROUNDS] [-p PARENT] [-P PCI-ADDRESS]
 *
 * A line of the table is "PARENT | HAND-OVER | WAY TO LEAVE | RESULT". The exit
 * status is 1 if a result is not "ok". The rest of a parent is left out if
 * something hangs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest.h"
#include "lib/client.h"
#include "lib/dev.h"
#include "lib/io.h"
#include "lib/klog.h"
#include "lib/mem.h"
#include "lib/supervise.h"
#include "lib/vduse_daemon.h"
#include "lib/virtio.h"

/*
 * Behind its page a client maps what a virtual machine would, where that costs
 * nothing because nothing is pinned. It covers the addresses at which VDUSE puts
 * what the kernel's drivers share with the device: left there, it is in the way.
 */
#define PAGE_IOVA	0x100000UL
#define BULK_IOVA	(2UL << 20)
#define BULK_SIZE	0x100000UL
#define BULK_SIZE_VA	(256UL << 20)

/* More than this for a cell, and this for a round, and it hangs */
#define CELL_S		30
#define ROUND_S		5

enum handover { TO_VIRTIO, TO_VHOST, TO_OTHER, DELETED, HANDOVERS };
enum leave { CLEAN, MAPPED, KILLED, UNLOAD, LEAVES };

static const char * const handover_names[] = {
	[TO_VIRTIO] = "vhost -> virtio",
	[TO_VHOST] = "virtio -> vhost",
	[TO_OTHER] = "vhost -> vhost, other process",
	[DELETED] = "vhost -> deleted, new -> vhost",
};

/* virtio's drivers unmap what they mapped: there, it is unbound while in use */
static const char * const leave_names[] = {
	[CLEAN] = "clean",
	[MAPPED] = "maps left / in use",
	[KILLED] = "killed under load",
	[UNLOAD] = "parent unloaded",
};

struct parent {
	const char *name;
	struct vdpa_parent p;
};

static struct parent parents[] = {
	{ .name = "vdpa_sim net set_map",
	  .p = SIM_NET(true) },
	{ .name = "vdpa_sim net dma_map",
	  .p = SIM_NET(false) },
	{ .name = "vdpa_sim blk set_map",
	  .p = SIM_BLK(true) },
	{ .name = "vdpa_sim blk dma_map",
	  .p = SIM_BLK(false) },
	{ .name = "mlx5 net",
	  .p = MLX5_NET },
	{ .name = "vp_vdpa blk",
	  .p = VP_VDPA_BLK(NULL) },
	/* Last: without the series it hangs, and with it what comes next */
	{ .name = "VDUSE blk",
	  .p = VDUSE_BLK },
};

/* A cell of the matrix in progress */
struct cell {
	const struct parent *parent;
	enum handover handover;
	enum leave leave;
	struct vdpa_dev dev;
	unsigned int io_ms;	/* what the first owner's I/O took */
	/* What the first owner works in, which this program keeps, and as it was */
	struct client_page page;
	struct client_page page_then;
	char why[256];
};

#define TRY(c, what) try(c, what, #what)

static int try(struct cell *c, int r, const char *what)
{
	if (r && !c->why[0])
		snprintf(c->why, sizeof(c->why), "%.60s: %s",
			 what, strerror(r < 0 ? -r : r));

	return r;
}

static int fails(struct cell *c, const char *what)
{
	if (!c->why[0])
		snprintf(c->why, sizeof(c->why), "%s", what);

	return -1;
}

static int get(struct cell *c)
{
	const char *why = "";

	return vdpa_dev_get(&c->dev, &c->parent->p, &why) ? fails(c, why) : 0;
}

static int renew(struct cell *c, bool unload)
{
	vdpa_dev_put(&c->dev);
	if (unload && TRY(c, vdpa_unload_parent(&c->parent->p)))
		return -1;

	return get(c);
}

/* The first owner, or the second */

static size_t bulk_size(const struct cell *cell)
{
	return cell->dev.use_va ? BULK_SIZE_VA : BULK_SIZE;
}

static int client_begin(struct cell *cell, struct vdpa_client *c)
{
	size_t size = bulk_size(cell);
	void *bulk;
	int r;

	if (TRY(cell, client_open(c, &cell->dev, 0)))
		return -1;
	c->iova = PAGE_IOVA;
	client_borrow_page(c, &cell->page);
	bulk = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS |
		    (cell->dev.use_va ? MAP_SHARED : MAP_PRIVATE), -1, 0);
	if (bulk == MAP_FAILED)
		return fails(cell, "no memory");
	r = TRY(cell, client_ack(c, c->features)) ||
	    TRY(cell, client_map(c)) ||
	    TRY(cell, client_map_at(c, 0, BULK_IOVA, bulk, size)) ||
	    TRY(cell, client_start(c)) ||
	    TRY(cell, client_io(c, IO_TIMEOUT_MS));
	cell->io_ms = c->io_ms;
	munmap(bulk, size);

	return r ? -1 : 0;
}

static int client_end(struct cell *cell, struct vdpa_client *c, enum leave leave)
{
	int r = 0;

	if (leave == CLEAN)
		r = TRY(cell, client_reset(c)) || TRY(cell, client_unmap(c)) ||
		    TRY(cell, client_unmap_at(c, 0, BULK_IOVA, bulk_size(cell)));
	client_close(c);

	return r ? -1 : 0;
}

/* A child that works until it is killed; what it works on is up to @work */
static int kill_under_load(struct cell *c, void (*work)(struct cell *, int))
{
	char ready;
	pid_t pid;
	int p[2];

	if (pipe(p))
		return fails(c, "no pipe");
	pid = fork();
	if (!pid) {
		close(p[0]);
		work(c, p[1]);
		_exit(1);
	}
	close(p[1]);
	if (read(p[0], &ready, 1) != 1)
		fails(c, "the first owner did not come to work");
	close(p[0]);
	usleep(2000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);

	return c->why[0] ? -1 : 0;
}

static void vhost_load(struct cell *cell, int ready)
{
	struct vdpa_client c;

	if (client_begin(cell, &c) || write(ready, "x", 1) != 1)
		return;
	for (;;) {
		client_io(&c, IO_TIMEOUT_MS);
		client_burst(&c);
		client_reset(&c);
		client_start(&c);
	}
}

static void virtio_load(struct cell *c, int ready)
{
	if (virtio_io(&c->dev) ||
	    write(ready, "x", 1) != 1)
		return;
	for (;;)
		virtio_io(&c->dev);
}

static int use_vhost(struct cell *cell, enum leave leave)
{
	struct vdpa_client c;
	int r;

	if (leave == KILLED)
		return kill_under_load(cell, vhost_load);

	r = client_begin(cell, &c);
	if (r)
		client_close(&c);
	else
		r = client_end(cell, &c, leave);
	if (!r && leave == UNLOAD)
		r = renew(cell, true);

	return r;
}

static int use_virtio(struct cell *c, enum leave leave)
{
	char node[256];
	int fd = -1, r;

	if (TRY(c, vdpa_bind(&c->dev, "virtio_vdpa")))
		return -1;
	r = leave == KILLED ? kill_under_load(c, virtio_load) :
	    TRY(c, virtio_io(&c->dev));
	/* A network device that is up is in use enough */
	if (!r && leave == MAPPED && c->parent->p.device_id == VIRTIO_ID_BLOCK &&
	    !TRY(c, virtio_node(&c->dev, node, sizeof(node))))
		fd = open(node, O_RDONLY);
	if (!r)
		r = TRY(c, vdpa_bind(&c->dev, "vhost_vdpa"));
	if (fd >= 0)
		close(fd);
	if (!r && leave == UNLOAD)
		r = renew(c, true);

	return r;
}

/* Whether something is left of the first owner */

/*
 * The next client maps nothing, and tells its device of rings in the page that
 * the first owner had: where it was mapped, and where it is by default.
 */
static int probe(struct cell *cell, uint64_t iova)
{
	struct vdpa_client c;
	int r;

	if (TRY(cell, client_open(&c, &cell->dev, 0)))
		return -1;
	c.iova = iova;
	c.io_ms = cell->io_ms;
	client_borrow_page(&c, &cell->page);
	r = TRY(cell, client_start(&c)) || TRY(cell, client_no_io(&c));
	client_close(&c);

	return r ? -1 : 0;
}

/*
 * What a platform IOMMU makes of probes is an error in the log, and none of the
 * cell's. The kernel does not log each of them.
 */
static int forget_iommu_faults(struct cell *c)
{
	char line[128] = "";

	if (!c->dev.keeps || c->dev.daemon)
		return 0;
	if (!log_errors(line, sizeof(line)) || strstr(line, "DMAR"))
		return 0;

	return fails(c, strtok(line, "\n"));
}

static int check_left(struct cell *c)
{
	if (c->dev.daemon &&
	    vduse_daemon_reaches(c->dev.daemon, 0, UINT64_MAX))
		return fails(c, "the daemon still reaches memory");
	if (probe(c, PAGE_IOVA) || probe(c, phys_addr(&c->page)) ||
	    forget_iommu_faults(c))
		return -1;
	c->page_then = c->page;

	return 0;
}

/* Has a device written there after its owner was gone? */
static int check_unchanged(struct cell *c)
{
	return memcmp(&c->page, &c->page_then, sizeof(c->page)) ?
	       fails(c, "the first owner's memory was written") : 0;
}

static int use_vhost_in_child(struct cell *c)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(check_left(c) || use_vhost(c, MAPPED) ? 1 : 0);
	if (waitpid(pid, &status, 0) != pid || status)
		return fails(c, "no I/O, or something left, in the other process");

	return 0;
}

static int round_of(struct cell *c)
{
	switch (c->handover) {
	case TO_VIRTIO:
		if (use_vhost(c, c->leave))
			return -1;
		c->page_then = c->page;
		return use_virtio(c, CLEAN) || check_unchanged(c);
	case TO_VHOST:
		return use_virtio(c, c->leave) || check_left(c) ||
		       use_vhost(c, MAPPED);
	case TO_OTHER:
		return use_vhost(c, c->leave) || use_vhost_in_child(c);
	case DELETED:
		return use_vhost(c, c->leave) || renew(c, false) ||
		       check_left(c) || use_vhost(c, MAPPED);
	default:
		return -1;
	}
}

static void run_rounds(struct cell *c, unsigned int rounds)
{
	char log[128] = "", why[sizeof(c->why)];
	unsigned int i = 0;
	long pins;

	log_errors(NULL, 0);
	pins = pins_in_system();
	if (!get(c)) {
		for (i = 0; i < rounds; i++)
			if (round_of(c))
				break;
		vdpa_dev_put(&c->dev);
	}
	if (pins != pins_in_system())
		fails(c, "pages are still pinned");
	if (log_errors(log, sizeof(log)) && !c->why[0])
		snprintf(c->why, sizeof(c->why), "log: %s", strtok(log, "\n"));
	if (c->why[0] && rounds > 1) {
		snprintf(why, sizeof(why), "%.200s (round %u)", c->why, i + 1);
		strcpy(c->why, why);
	}
}

/* In a process of its own, as it may never come back. False: it did not */
static bool run_cell(const struct parent *parent, enum handover handover,
		     enum leave leave, unsigned int rounds, bool *ok)
{
	struct cell *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int i, tenths = (CELL_S + ROUND_S * rounds) * 10;
	bool ended = false;
	pid_t pid;

	if (c == MAP_FAILED)
		return false;
	c->parent = parent;
	c->handover = handover;
	c->leave = leave;

	pid = fork();
	if (!pid) {
		run_rounds(c, rounds);
		_exit(0);
	}
	for (i = 0; i < tenths && !ended; i++) {
		ended = waitpid(pid, NULL, WNOHANG) == pid;
		if (!ended)
			usleep(100000);
	}
	if (!ended)
		snprintf(c->why, sizeof(c->why), "hangs");

	printf("%-21s | %-31s | %-18s | %s\n", parent->name,
	       handover_names[handover], leave_names[leave],
	       c->why[0] ? c->why : "ok");
	fflush(stdout);
	*ok &= !c->why[0];
	munmap(c, sizeof(*c));

	return ended;
}

static bool run_parent(const struct parent *p, unsigned int rounds)
{
	unsigned int h, l;
	bool ok = true;

	for (h = 0; h < HANDOVERS; h++)
		for (l = 0; l < LEAVES; l++)
			if (!run_cell(p, h, l, rounds, &ok))
				return false;

	return ok;
}

/* What the command line says */
static struct {
	const char *only;
	const char *pci;
	unsigned int rounds;
} options = { .rounds = 2 };

static int run(int argc, char **argv)
{
	struct parent *p;
	bool ok = true;

	signal(SIGPIPE, SIG_IGN);
	for (p = parents; p < parents + ARRAY_SIZE(parents); p++) {
		if (options.only && !strstr(p->name, options.only))
			continue;
		if (!p->p.mgmtdev && !options.pci)
			continue;
		if (!p->p.mgmtdev)
			p->p.mgmtdev = options.pci;
		ok &= run_parent(p, options.rounds);
	}

	return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
	int opt, r;

	while ((opt = getopt(argc, argv, "r:p:P:")) != -1) {
		if (opt == 'r')
			options.rounds = atoi(optarg);
		else if (opt == 'p')
			options.only = optarg;
		else if (opt == 'P')
			options.pci = optarg;
		else
			return 2;
	}
	if (geteuid()) {
		printf("SKIP: not root\n");
		return 4;
	}

	r = vdpa_supervise(run, argc, argv);
	if (options.pci)
		vp_vdpa_give_back(options.pci);

	return r;
}
