// SPDX-License-Identifier: GPL-2.0
/*
 * Not a test: shows what a reset of the virtio device costs a client, and what
 * it leaves. The client does what it must on the kernel that it finds: where
 * VHOST_BACKEND_F_IOTLB_PERSIST is offered it just resets, elsewhere it removes
 * all mappings first and adds them again.
 *
 * One "key=value ..." line per result, for programs to read. Times are in ns of
 * the monotonic clock; in a virtual machine whose clock counts instructions
 * (qemu -icount shift=0) they are instructions.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "vdpa_util.h"

#define BULK_IOVA BIT_ULL(32)

static const struct vdpa_parent net = {
	.mgmtdev = "vdpasim_net",
	.batch = true,
	.nas = 2,
	.device_id = VIRTIO_ID_NET,
};

struct session {
	struct vdpa_client c;
	void *bulk;
	size_t size;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* In batches, since each change has a price on a .set_map parent */
static int session_map(struct session *s)
{
	int r = client_batch(&s->c, 0, true);

	if (!r)
		r = client_map(&s->c);
	if (!r)
		r = client_map_at(&s->c, 0, BULK_IOVA, s->bulk, s->size);

	return r ?: client_batch(&s->c, 0, false);
}

static int session_unmap(struct session *s)
{
	int r = client_batch(&s->c, 0, true);

	if (!r)
		r = client_unmap(&s->c);
	if (!r)
		r = client_unmap_at(&s->c, 0, BULK_IOVA, s->size);

	return r ?: client_batch(&s->c, 0, false);
}

static void session_close(struct session *s)
{
	client_close(&s->c);
	munmap(s->bulk, s->size);
}

/* Memory that is there already: first-touch costs are not of interest */
static int session_open(struct session *s, const struct vdpa_dev *dev,
			size_t size)
{
	int r;

	s->size = size;
	s->bulk = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (s->bulk == MAP_FAILED)
		return -errno;

	r = client_open(&s->c, dev, 0);
	if (!r)
		r = client_ack(&s->c, s->c.features);
	if (!r)
		r = session_map(s);
	if (!r)
		r = client_start(&s->c);
	if (!r)
		r = client_io(&s->c, IO_TIMEOUT_MS);
	if (r)
		session_close(s);

	return r;
}

/* Have the device running again, as this kernel wants it */
static int session_restart(struct session *s)
{
	bool persist = s->c.features & F_PERSIST;
	int r = 0;

	if (!persist)
		r = session_unmap(s);
	if (!r)
		r = client_reset(&s->c);
	if (!r && !persist)
		r = session_map(s);

	return r ?: client_start(&s->c);
}

static int demo_reach(const struct vdpa_dev *dev, size_t size)
{
	struct session s = {};
	int r;

	r = session_open(&s, dev, size);
	if (r)
		return r;

	r = client_reset(&s.c);
	if (!r)
		r = client_start(&s.c);
	if (!r)
		printf("reach offered=%d pinned=%ld io=%s\n",
		       !!(s.c.features & F_PERSIST), pins_of_process(),
		       client_io(&s.c, NO_IO_MS) ? "no" : "yes");
	session_close(&s);

	return r;
}

static int demo_cost(const struct vdpa_dev *dev, size_t size)
{
	struct session s = {};
	uint64_t start, end;
	int r;

	r = session_open(&s, dev, size);
	if (r)
		return r;

	/* Once to warm up */
	r = session_restart(&s);
	start = now_ns();
	if (!r)
		r = session_restart(&s);
	end = now_ns();
	if (!r)
		r = client_io(&s.c, IO_TIMEOUT_MS);
	if (!r)
		printf("cost mib=%zu persist=%d ns=%llu\n", size >> 20,
		       !!(s.c.features & F_PERSIST),
		       (unsigned long long)(end - start));
	session_close(&s);

	return r;
}

static int demo_handover(const struct vdpa_dev *dev, size_t size)
{
	struct session s = {};
	int r, io;

	/* A client that leaves with everything mapped */
	r = session_open(&s, dev, size);
	if (r)
		return r;
	session_close(&s);
	r = vdpa_bind(dev, "virtio_vdpa");
	if (r)
		return r;

	io = virtio_io(dev, net.device_id);
	printf("handover io=%s\n", io ? "no" : "yes");

	return vdpa_bind(dev, "vhost_vdpa");
}

static int (*find_demo(const char *name))(const struct vdpa_dev *, size_t)
{
	return !strcmp(name, "reach") ? demo_reach :
	       !strcmp(name, "cost") ? demo_cost :
	       !strcmp(name, "handover") ? demo_handover : NULL;
}

int main(int argc, char **argv)
{
	int (*demo)(const struct vdpa_dev *dev, size_t size) =
		argc > 2 ? find_demo(argv[1]) : NULL;
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct vdpa_dev dev;
	const char *why;
	int i, r;

	if (!demo) {
		fprintf(stderr, "Usage: %s reach|cost|handover MiB...\n",
			argv[0]);
		return 2;
	}

	/* Pinned memory is charged against it */
	if (setrlimit(RLIMIT_MEMLOCK, &unlimited)) {
		perror("RLIMIT_MEMLOCK");
		return 1;
	}

	r = vdpa_dev_get(&dev, &net, &why);
	if (r) {
		fprintf(stderr, "%s: %s\n", argv[0], why);
		return 1;
	}
	for (i = 2; !r && i < argc; i++)
		r = demo(&dev, strtoul(argv[i], NULL, 10) << 20);
	vdpa_dev_put(&dev);
	if (r)
		fprintf(stderr, "%s: %s\n", argv[0], strerror(-r));

	return !!r;
}
