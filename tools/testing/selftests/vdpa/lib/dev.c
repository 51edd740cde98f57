// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client.h"
#include "dev.h"
#include "mem.h"
#include "netlink.h"
#include "supervise.h"
#include "util.h"
#include "vduse_daemon.h"

/* What tests call their devices begins with that */
#define DEV_NAME	"vdpa_selftest"

struct vdpa_given vdpa_given = { .times = 1 };

static void usage(const char *program)
{
	fprintf(stderr,
		"Usage: %s [-l] [-t PATTERN] [-w SECONDS] [-i TIMES] [-q] [-d /dev/vhost-vdpa-N [-n] [-k] [-b] [-r] [-p]]\n"
		"  -l  list the tests by name\n"
		"  -t  run those whose name matches, such as '*.net_*.moves_data'\n"
		"  -w  a test that takes longer has failed\n"
		"  -i  run them so many times, or until one fails; each is a TAP output\n"
		"  -q  quick: do less often what is only done again and again\n"
		"  -d  test this device instead of those that the test creates: it sends\n"
		"      frames, and overwrites the first sectors of a disk\n"
		"  -n  it does not loop frames: a frame counts as moved once it is sent\n"
		"  -k  its reset never drops mappings (its parent has no .compat_reset)\n"
		"  -b  do not reset it with requests in flight\n"
		"  -r  it may be bound to virtio-vdpa and back (handover)\n"
		"  -p  it offers packed rings: clients use these\n",
		program);
	exit(1);
}

/* The name on the bus stays the same when the device is bound anew */
static void find_given(const char *program, const char *path)
{
	char pattern[256], found[256], *name, *end;

	name = strrchr(path, '/');
	snprintf(pattern, sizeof(pattern), "/sys/bus/vdpa/devices/*/%s",
		 name ? name + 1 : path);
	if (find_one(pattern, found, sizeof(found))) {
		fprintf(stderr, "%s: no such device: %s\n", program, path);
		exit(1);
	}
	end = strrchr(found, '/');
	*end = '\0';
	snprintf(vdpa_given.name, sizeof(vdpa_given.name), "%.63s",
		 strrchr(found, '/') + 1);
}

/* Less than once would be a success of no test at all */
static unsigned int times(const char *program, const char *text)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || text[0] == '-' || !n || n > UINT_MAX)
		usage(program);

	return n;
}

int vdpa_parse_args(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "d:nkbrpqlt:w:i:")) != -1) {
		switch (opt) {
		case 'd':
			find_given(argv[0], optarg);
			pins_ignore_others();
			break;
		case 'n':
			vdpa_given.no_loop = true;
			break;
		case 'k':
			vdpa_given.keeps = true;
			break;
		case 'b':
			vdpa_given.no_burst = true;
			break;
		case 'r':
			vdpa_given.may_rebind = true;
			break;
		case 'p':
			vdpa_given.packed = true;
			break;
		case 'q':
			vdpa_given.quick = true;
			break;
		case 'l':
			vdpa_given.list = true;
			break;
		case 't':
			vdpa_given.pattern = optarg;
			break;
		case 'w':
			vdpa_given.seconds = atoi(optarg);
			break;
		case 'i':
			vdpa_given.times = times(argv[0], optarg);
			break;
		default:
			usage(argv[0]);
		}
	}

	/* A later harness looks for options of its own, and here for its first */
	argv[1] = NULL;
	optind = 1;

	return 1;
}

unsigned int vdpa_rounds(unsigned int rounds)
{
	return vdpa_given.quick ? (rounds + 19) / 20 : rounds;
}

static int vdpa_dev_add(const char *name, const struct vdpa_parent *parent)
{
	struct vdpa_genl g;
	int r = vdpa_genl_open(&g);

	if (r)
		return r;
	r = vdpa_genl_add(&g, name, parent);
	close(g.fd);

	return r;
}

int vdpa_dev_del(const struct vdpa_dev *dev)
{
	struct vdpa_genl g;
	int r = vdpa_genl_open(&g);

	if (r)
		return r;
	r = vdpa_genl_del(&g, dev->name);
	close(g.fd);

	return r;
}

static int vdpa_dev_find_path(struct vdpa_dev *dev)
{
	char pattern[256], found[256];
	int r;

	snprintf(pattern, sizeof(pattern),
		 "/sys/bus/vdpa/devices/%s/vhost-vdpa-*", dev->name);
	r = find_one(pattern, found, sizeof(found));
	if (!r)
		snprintf(dev->path, sizeof(dev->path), "/dev/%s",
			 strrchr(found, '/') + 1);

	return r;
}

bool vdpa_may_rebind(const struct vdpa_dev *dev)
{
	return dev->created || vdpa_given.may_rebind;
}

int vdpa_bind(struct vdpa_dev *dev, const char *driver)
{
	char path[256], to[256];
	ssize_t n;
	int r;

	snprintf(path, sizeof(path), "/sys/bus/vdpa/devices/%s/driver",
		 dev->name);
	n = readlink(path, to, sizeof(to) - 1);
	if (n > 0) {
		to[n] = '\0';
		if (!strcmp(strrchr(to, '/') + 1, driver))
			return 0;
		snprintf(path, sizeof(path), "/sys/bus/vdpa/devices/%s/driver/unbind",
			 dev->name);
		r = write_file(path, dev->name);
		if (r)
			return r;
	}

	snprintf(path, sizeof(path), "/sys/bus/vdpa/drivers/%s/bind", driver);
	r = write_file(path, dev->name);

	/* It may be another one than before */
	return r ?: !strcmp(driver, "vhost_vdpa") ? vdpa_dev_find_path(dev) : 0;
}

/* Whose is it? */
static bool vdpa_dev_is_vduse(const struct vdpa_dev *dev)
{
	char path[256], *target;
	bool vduse;

	snprintf(path, sizeof(path), "/sys/bus/vdpa/devices/%s", dev->name);
	target = realpath(path, NULL);
	vduse = target && strstr(target, "/vduse/");
	free(target);

	return vduse;
}

/* Nothing says so: does it leave out what is not shared, and pin nothing? */
static bool vdpa_dev_uses_va(const struct vdpa_dev *dev)
{
	long pins = pins_of_process();
	struct vdpa_client c;
	bool uses_va;

	if (client_open(&c, dev, 0))
		return false;
	uses_va = !client_ack(&c, F_BASIC) && !client_map(&c) && pins_of_process() == pins;
	client_close(&c);

	return uses_va;
}

int vdpa_check_given(void)
{
	struct vdpa_dev dev = {};
	int r, fd;

	snprintf(dev.name, sizeof(dev.name), "%s", vdpa_given.name);
	r = vdpa_given.may_rebind ? vdpa_bind(&dev, "vhost_vdpa") : 0;
	r = r ?: vdpa_dev_find_path(&dev);
	if (r)
		return r;
	fd = open(dev.path, O_RDWR);
	if (fd < 0)
		return -errno;
	close(fd);

	return 0;
}

/* The one that the command line names, if it is like @parent */
static int vdpa_dev_get_given(struct vdpa_dev *dev, const struct vdpa_parent *parent,
			      const char **why)
{
	uint32_t id = 0;
	int fd;

	/* It was there, or vdpa_check_given() would have said so */
	*why = "the device that -d names can't be opened any more";
	if (vdpa_given.may_rebind && vdpa_bind(dev, "vhost_vdpa"))
		return -EIO;
	if (vdpa_dev_find_path(dev))
		return -EIO;
	fd = open(dev->path, O_RDWR);
	if (fd < 0)
		return -EIO;
	ioctl(fd, VHOST_VDPA_GET_DEVICE_ID, &id);
	dev->nas = 1;
	ioctl(fd, VHOST_VDPA_GET_AS_NUM, &dev->nas);
	close(fd);

	dev->use_va = vdpa_dev_uses_va(dev);
	dev->keeps = vdpa_given.keeps || vdpa_dev_is_vduse(dev);

	*why = "not the kind of device that -d names";
	/* How it is told its mappings is not to be seen: run only once */
	return id == parent->device_id && parent->batch &&
	       parent->ops->stands_for_given ? 0 : -ENODEV;
}

static int vdpa_dev_start(struct vdpa_dev *dev)
{
	return dev->parent->ops->start ? dev->parent->ops->start(dev) : 0;
}

static void vdpa_dev_stop(struct vdpa_dev *dev)
{
	if (dev->parent->ops->stop)
		dev->parent->ops->stop(dev);
}

static long vdpa_violations_ever(const struct vdpa_dev *dev)
{
	return dev->parent->ops->violations ?
	       dev->parent->ops->violations() : 0;
}

/* Before its parent is known to be there */
static void vdpa_dev_init(struct vdpa_dev *dev, const char *name,
			  const struct vdpa_parent *parent)
{
	memset(dev, 0, sizeof(*dev));
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	dev->parent = parent;
	dev->nas = parent->nas;
	dev->use_va = parent->ops->use_va;
	dev->keeps = parent->ops->keeps;
}

/* What a test that did not come to its end has left */
static void delete_all(void)
{
	struct vdpa_dev dev = {};
	char found[256];

	while (!find_one("/sys/bus/vdpa/devices/" DEV_NAME "*", found,
			 sizeof(found))) {
		snprintf(dev.name, sizeof(dev.name), "%.63s",
			 strrchr(found, '/') + 1);
		if (vdpa_dev_del(&dev))
			break;
	}
	vduse_daemon_cleanup(DEV_NAME);
}

static size_t count(const char *pattern)
{
	size_t n;
	glob_t g;

	if (glob(pattern, 0, NULL, &g))
		return 0;
	n = g.gl_pathc;
	globfree(&g);

	return n;
}

bool vdpa_dev_of_others(void)
{
	return count("/sys/bus/vdpa/devices/*") !=
	       count("/sys/bus/vdpa/devices/" DEV_NAME "*");
}

/* For want of rights, or of a kernel that has such devices: nothing that is broken */
static int missing(int error)
{
	switch (-error) {
	case EPERM:
	case EACCES:
	case EINVAL:
	case ENODEV:
	case EOPNOTSUPP:
		return -ENOENT;
	default:
		return error;
	}
}

int vdpa_dev_get(struct vdpa_dev *dev, const struct vdpa_parent *parent,
		 const char **why)
{
	int r;

	vdpa_dev_init(dev, vdpa_given.name[0] ? vdpa_given.name : DEV_NAME,
		      parent);
	end_with_parent();
	if (vdpa_given.name[0])
		return vdpa_dev_get_given(dev, parent, why);

	delete_all();

	r = vdpa_load_parent(parent, why);
	if (r)
		return r;

	*why = "cannot create a VDUSE device";
	r = vdpa_dev_start(dev);
	if (r)
		return missing(r);

	*why = "cannot add a device";
	r = vdpa_dev_add(dev->name, parent);
	if (r)
		goto stop;

	*why = "cannot bind the device to vhost_vdpa";
	if (vdpa_bind(dev, "vhost_vdpa") || vdpa_dev_find_path(dev)) {
		r = -EIO;
		goto del;
	}
	dev->created = true;
	dev->violations = vdpa_violations_ever(dev);
	vdpa_check_pins(dev, true);

	return 0;

del:
	vdpa_dev_del(dev);
stop:
	vdpa_dev_stop(dev);

	return missing(r);
}

int vdpa_dev_get_second(struct vdpa_dev *dev, const struct vdpa_parent *parent)
{
	int r;

	vdpa_dev_init(dev, DEV_NAME "-2", parent);
	r = vdpa_given.name[0] ? -ENODEV : vdpa_dev_add(dev->name, parent);
	if (r)
		return r;

	dev->created = true;
	r = vdpa_bind(dev, "vhost_vdpa");
	if (!r)
		r = vdpa_dev_find_path(dev);
	if (r)
		vdpa_dev_put(dev);

	return r;
}

void vdpa_dev_put(struct vdpa_dev *dev)
{
	/* A process would wait for itself */
	clients_close(dev);
	if (dev->created)
		vdpa_dev_del(dev);
	dev->created = false;
	vdpa_dev_stop(dev);
}

void *vdpa_dev_alloc(const struct vdpa_dev *dev, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS |
		       MAP_POPULATE | (dev->use_va ? MAP_SHARED : MAP_PRIVATE),
		       -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void vdpa_check_pins(const struct vdpa_dev *dev, bool on)
{
	if (dev->parent->ops->check_pins)
		dev->parent->ops->check_pins(on);
}

long vdpa_violations(const struct vdpa_dev *dev)
{
	return vdpa_violations_ever(dev) - dev->violations;
}

const char *vdpa_violation(const struct vdpa_dev *dev)
{
	return dev->parent->ops->violation ? dev->parent->ops->violation() : "";
}

long vdpa_refusals(const struct vdpa_dev *dev)
{
	return dev->parent->ops->refusals ? dev->parent->ops->refusals(dev) : -1;
}

void vdpa_dev_cleanup(void)
{
	struct vdpa_dev dev = {};

	if (!vdpa_given.name[0])
		delete_all();
	if (vdpa_given.name[0] && vdpa_given.may_rebind) {
		snprintf(dev.name, sizeof(dev.name), "%s", vdpa_given.name);
		vdpa_bind(&dev, "vhost_vdpa");
	}
}
