// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/genetlink.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/vdpa.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vdpa_util.h"
#include "vduse_daemon.h"

#define DEV_NAME	"vdpa_selftest"
#define ETH_P_TEST	0x88b5	/* IEEE 802: local experimental */
#define SECTOR_SIZE	512

static const uint8_t dev_mac[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
static const char *given_path;
static bool given_no_loop;
static bool given_keeps;
static bool given_no_burst;

int vdpa_parse_args(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "d:nkb")) != -1) {
		switch (opt) {
		case 'd':
			given_path = optarg;
			break;
		case 'n':
			given_no_loop = true;
			break;
		case 'k':
			given_keeps = true;
			break;
		case 'b':
			given_no_burst = true;
			break;
		default:
			fprintf(stderr,
				"Usage: %s [-d /dev/vhost-vdpa-N [-n] [-k] [-b]]\n"
				"  -d  test this device instead of those that the test creates\n"
				"  -n  it does not loop frames: a frame counts as moved once it is sent\n"
				"  -k  its reset has never dropped mappings (platform IOMMU)\n"
				"  -b  do not reset it with requests in flight\n",
				argv[0]);
			exit(1);
		}
	}

	argv[1] = NULL;
	return 1;
}

/* Small things */

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

static int read_file(const char *path, char *buf, size_t size)
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

/* The value that follows @key in a file of "key value" lines; -1 if none does */
static long read_key(const char *path, const char *key)
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

static int find_one(const char *pattern, char *path, size_t size)
{
	glob_t g;

	if (glob(pattern, 0, NULL, &g))
		return -ENOENT;
	snprintf(path, size, "%s", g.gl_pathv[0]);
	globfree(&g);

	return 0;
}

static int run(char *const argv[])
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

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

long pins_ever(void)
{
	if (write_file("/proc/sys/vm/stat_refresh", "1"))
		return -1;

	return read_key("/proc/vmstat", "nr_foll_pin_acquired ");
}

long pins_in_system(void)
{
	long n = pins_ever();

	return n < 0 ? n : n - read_key("/proc/vmstat", "nr_foll_pin_released ");
}

long pins_of_process(void)
{
	long kib = read_key("/proc/self/status", "VmPin:");

	return kib < 0 ? -1 : kib * 1024 / getpagesize();
}

uint64_t phys_addr(const void *addr)
{
	uint64_t entry = 0, page = getpagesize();
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry),
		  (uintptr_t)addr / page * sizeof(entry)) != sizeof(entry))
		entry = 0;
	close(fd);

	return (entry & (BIT_ULL(55) - 1)) * page;
}

int phys_dirty(uint64_t pa)
{
	const uint64_t dirty = BIT_ULL(4);	/* KPF_DIRTY */
	uint64_t flags;
	int fd = open("/proc/kpageflags", O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = pread(fd, &flags, sizeof(flags), pa / getpagesize() * sizeof(flags));
	close(fd);

	return n == sizeof(flags) ? !!(flags & dirty) : -1;
}

/*
 * Memory that is touched in random order is handed out in the order in which
 * it is free, which is mostly one after the other.
 */
void *shuffled_alloc(size_t size)
{
	size_t page = getpagesize(), n = size / page, i, other;
	uint64_t state = 1;
	uint32_t *order, tmp;
	char *mem;

	order = malloc(n * sizeof(*order));
	if (!order)
		return NULL;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED) {
		free(order);
		return NULL;
	}
	madvise(mem, size, MADV_NOHUGEPAGE);

	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n; i > 1; i--) {
		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		other = (state >> 33) % i;
		tmp = order[i - 1];
		order[i - 1] = order[other];
		order[other] = tmp;
	}
	for (i = 0; i < n; i++)
		mem[order[i] * page] = 1;
	free(order);

	return mem;
}

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

/* The device */

static bool is_loaded(const char *module)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/module/%s", module);

	return access(path, F_OK) == 0;
}

static bool is_mlx5(const struct vdpa_parent *parent)
{
	return !strcmp(parent->mgmtdev, MLX5_PARENT);
}

static bool is_vduse(const struct vdpa_parent *parent)
{
	return !strcmp(parent->mgmtdev, VDUSE_PARENT);
}

static int load_mlx5(const char **why)
{
	static char *const load[] = {
		"modprobe", "-qa", "mlx5_mock", "mlx5_vdpa", "vhost_vdpa",
		"virtio_vdpa", "virtio_net", NULL
	};
	bool missing = false;
	int i;

	for (i = 2; load[i]; i++)
		missing = missing || !is_loaded(load[i]);
	if (missing && run(load)) {
		*why = "no mlx5_vdpa, or no model of its firmware (tools/testing/vdpa/mlx5)";
		return -ENOENT;
	}
	if (access(MLX5_MOCK, F_OK)) {
		*why = "no PCI device for the mlx5 model (an ivshmem of QEMU), or no debugfs";
		return -ENOENT;
	}

	return 0;
}

static int load_vduse(const char **why)
{
	static char *const unload[] = { "modprobe", "-r", "vduse", NULL };
	static char *const load[] = {
		"modprobe", "-a", "vhost_vdpa", "virtio_vdpa", "virtio_blk", NULL
	};
	char now[16] = "", entries[64];
	char *const vduse[] = { "modprobe", "vduse", entries, NULL };

	read_file("/sys/module/vduse/parameters/max_iotlb_entries", now,
		  sizeof(now));
	if (now[0] && atoi(now) != VDUSE_ENTRIES && run(unload)) {
		*why = "VDUSE is in use";
		return -ENOENT;
	}

	snprintf(entries, sizeof(entries), "max_iotlb_entries=%d", VDUSE_ENTRIES);
	if (run(vduse) || run(load)) {
		*why = "a module of those in the config file is missing";
		return -ENOENT;
	}

	return 0;
}

static const char *pci_address(const struct vdpa_parent *parent)
{
	return strncmp(parent->mgmtdev, "pci/", 4) ? NULL : parent->mgmtdev + 4;
}

/* Have vp_vdpa take the device, whoever has it now */
static int load_vp_vdpa(const char *address, const char **why)
{
	static char *const load[] = {
		"modprobe", "-a", "vp_vdpa", "vhost_vdpa", "virtio_vdpa",
		"virtio_net", "virtio_blk", NULL
	};
	char path[256], to[256];
	ssize_t n;

	if (run(load)) {
		*why = "a module of those in the config file is missing";
		return -ENOENT;
	}

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", address);
	n = readlink(path, to, sizeof(to) - 1);
	to[n < 0 ? 0 : n] = '\0';
	if (strstr(to, "/vp-vdpa"))
		return 0;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind",
		 address);
	if (n > 0)
		write_file(path, address);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override",
		 address);
	if (write_file(path, "vp-vdpa") ||
	    write_file("/sys/bus/pci/drivers/vp-vdpa/bind", address)) {
		*why = "vp_vdpa does not take the PCI device";
		return -ENOENT;
	}

	return 0;
}

#define SIM_PARAMETERS	"/sys/module/vdpa_sim/parameters/"
#define SIM_ENTRIES	2048	/* or no limit, by the age of the simulator */

/* Is it loaded, and not as @parent needs it? */
static bool sim_differs(const struct vdpa_parent *parent)
{
	char batch[16], entries[16];
	unsigned int n;

	if (read_file(SIM_PARAMETERS "batch_mapping", batch, sizeof(batch)) ||
	    read_file(SIM_PARAMETERS "max_iotlb_entries", entries,
		      sizeof(entries)))
		return false;

	n = strtoul(entries, NULL, 10);

	return atoi(batch) != parent->batch ||
	       (parent->entries ? n != parent->entries : n < SIM_ENTRIES);
}

int vdpa_unload_parent(const struct vdpa_parent *parent)
{
	static char *const sim[] = {
		"modprobe", "-r", "vdpa_sim_net", "vdpa_sim_blk", NULL
	};
	static char *const mlx5[] = { "modprobe", "-r", "mlx5_vdpa", NULL };
	static char *const vduse[] = { "modprobe", "-r", "vduse", NULL };
	static char *const vp_vdpa[] = { "modprobe", "-r", "vp_vdpa", NULL };

	return run(is_mlx5(parent) ? mlx5 : is_vduse(parent) ? vduse :
		   pci_address(parent) ? vp_vdpa : sim);
}

int vdpa_load_parent(const struct vdpa_parent *parent, const char **why)
{
	static char *const load[] = {
		"modprobe", "-a", "vdpa_sim_net", "vdpa_sim_blk", "vhost_vdpa",
		"virtio_vdpa", "virtio_net", "virtio_blk", NULL
	};
	static char *const unload[] = {
		"modprobe", "-r", "vdpa_sim_net", "vdpa_sim_blk", NULL
	};
	char batch[32], entries[32];
	char *const sim[] = {
		"modprobe", "vdpa_sim", batch,
		parent->entries ? entries : NULL, NULL
	};
	bool missing = false;
	int i;

	if (is_mlx5(parent))
		return load_mlx5(why);
	if (is_vduse(parent))
		return load_vduse(why);
	if (pci_address(parent))
		return load_vp_vdpa(pci_address(parent), why);

	snprintf(batch, sizeof(batch), "batch_mapping=%d", parent->batch);
	snprintf(entries, sizeof(entries), "max_iotlb_entries=%u",
		 parent->entries);
	if (sim_differs(parent) && run(unload)) {
		*why = "the simulator is in use";
		return -ENOENT;
	}

	for (i = 2; load[i]; i++)
		missing = missing || !is_loaded(load[i]);
	if (missing && (run(sim) || run(load))) {
		*why = "a module of those in the config file is missing";
		return -ENOENT;
	}

	return 0;
}

/* A generic netlink request; big enough for all that is sent and received here */
struct genl_msg {
	struct nlmsghdr nlh;
	struct genlmsghdr genl;
	char attrs[1024];
};

static void genl_init(struct genl_msg *msg, uint16_t family, uint8_t cmd)
{
	memset(msg, 0, sizeof(*msg));
	msg->nlh.nlmsg_len = NLMSG_LENGTH(sizeof(msg->genl));
	msg->nlh.nlmsg_type = family;
	msg->nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	msg->genl.cmd = cmd;
	msg->genl.version = 1;
}

static void genl_attr(struct genl_msg *msg, uint16_t type, const void *data,
		      size_t len)
{
	struct nlattr *attr = (void *)msg + NLMSG_ALIGN(msg->nlh.nlmsg_len);

	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	memcpy((void *)attr + NLA_HDRLEN, data, len);
	msg->nlh.nlmsg_len = NLMSG_ALIGN(msg->nlh.nlmsg_len) +
			     NLA_ALIGN(attr->nla_len);
}

static void genl_attr_str(struct genl_msg *msg, uint16_t type, const char *str)
{
	genl_attr(msg, type, str, strlen(str) + 1);
}

/* Send and have the answer in @msg, if there is one but the error */
static int genl_request(int fd, struct genl_msg *msg)
{
	struct nlmsgerr *err = (void *)&msg->genl;

	if (send(fd, msg, msg->nlh.nlmsg_len, 0) < 0 ||
	    recv(fd, msg, sizeof(*msg), 0) < 0)
		return -errno;

	return msg->nlh.nlmsg_type == NLMSG_ERROR ? err->error : 0;
}

static int vdpa_genl_family(int fd)
{
	struct genl_msg msg;
	struct nlattr *attr;
	int r;

	genl_init(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	genl_attr_str(&msg, CTRL_ATTR_FAMILY_NAME, VDPA_GENL_NAME);
	msg.nlh.nlmsg_flags = NLM_F_REQUEST;
	r = genl_request(fd, &msg);
	if (r)
		return r;

	for (attr = (void *)msg.attrs;
	     (char *)attr < (char *)&msg + msg.nlh.nlmsg_len;
	     attr = (void *)attr + NLA_ALIGN(attr->nla_len))
		if (attr->nla_type == CTRL_ATTR_FAMILY_ID)
			return *(uint16_t *)((void *)attr + NLA_HDRLEN);

	return -ENOENT;
}

int vdpa_genl_open(struct vdpa_genl *g)
{
	g->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (g->fd < 0)
		return -errno;
	g->family = vdpa_genl_family(g->fd);
	if (g->family < 0)
		close(g->fd);

	return g->family < 0 ? g->family : 0;
}

static int genl_attr_mgmtdev(struct genl_msg *msg,
			     const struct vdpa_parent *parent)
{
	const char *address = pci_address(parent);
	char path[256];
	int r;

	/* mlx5_vdpa calls its management device after the one it is a part of */
	if (is_mlx5(parent)) {
		r = find_one("/sys/bus/pci/drivers/mlx5_mock/0000:*", path,
			     sizeof(path));
		if (r)
			return r;
		address = strrchr(path, '/') + 1;
	}
	if (address)
		genl_attr_str(msg, VDPA_ATTR_MGMTDEV_BUS_NAME, "pci");
	genl_attr_str(msg, VDPA_ATTR_MGMTDEV_DEV_NAME,
		      address ?: parent->mgmtdev);

	return 0;
}

int vdpa_genl_add(struct vdpa_genl *g, const char *name,
		  const struct vdpa_parent *parent)
{
	struct genl_msg msg;
	int r;

	genl_init(&msg, g->family, VDPA_CMD_DEV_NEW);
	r = genl_attr_mgmtdev(&msg, parent);
	if (r)
		return r;
	genl_attr_str(&msg, VDPA_ATTR_DEV_NAME, name);
	if (parent->device_id == VIRTIO_ID_NET && !pci_address(parent))
		genl_attr(&msg, VDPA_ATTR_DEV_NET_CFG_MACADDR, dev_mac,
			  sizeof(dev_mac));

	return genl_request(g->fd, &msg);
}

int vdpa_genl_del(struct vdpa_genl *g, const char *name)
{
	struct genl_msg msg;

	genl_init(&msg, g->family, VDPA_CMD_DEV_DEL);
	genl_attr_str(&msg, VDPA_ATTR_DEV_NAME, name);

	return genl_request(g->fd, &msg);
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

int vdpa_bind(const struct vdpa_dev *dev, const char *driver)
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

	return write_file(path, dev->name);
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

/* Whose is the vDPA device that this character device stands for? */
static bool vdpa_dev_is_vduse(const struct vdpa_dev *dev)
{
	char pattern[256], found[256], *path;
	bool vduse;

	snprintf(pattern, sizeof(pattern), "/sys/bus/vdpa/devices/*/%s",
		 strrchr(dev->path, '/') + 1);
	if (find_one(pattern, found, sizeof(found)))
		return false;
	path = realpath(found, NULL);
	vduse = path && strstr(path, "/vduse/");
	free(path);

	return vduse;
}

/* The one that the command line names, if it is like @parent */
static int vdpa_dev_get_given(struct vdpa_dev *dev,
			      const struct vdpa_parent *parent)
{
	uint32_t id = 0;
	int fd;

	snprintf(dev->path, sizeof(dev->path), "%s", given_path);
	fd = open(dev->path, O_RDWR);
	if (fd < 0)
		return -errno;
	ioctl(fd, VHOST_VDPA_GET_DEVICE_ID, &id);
	dev->nas = 1;
	ioctl(fd, VHOST_VDPA_GET_AS_NUM, &dev->nas);
	close(fd);

	dev->use_va = vdpa_dev_is_vduse(dev);
	dev->keeps = given_keeps || dev->use_va;

	/* How it is told its mappings is not to be seen: run only once */
	return id == parent->device_id && parent->batch && !is_vduse(parent) &&
	       !is_mlx5(parent) ? 0 : -ENODEV;
}

/* The process is part of the device: it is there before and after it */
static int vdpa_dev_start_daemon(struct vdpa_dev *dev)
{
	int r;

	dev->use_va = true;
	dev->keeps = true;
	dev->daemon = calloc(1, sizeof(*dev->daemon));
	if (!dev->daemon)
		return -ENOMEM;
	r = vduse_daemon_start(dev->daemon, dev->name);
	if (r) {
		free(dev->daemon);
		dev->daemon = NULL;
	}

	return r;
}

static void vdpa_dev_stop_daemon(struct vdpa_dev *dev)
{
	if (!dev->daemon)
		return;
	vduse_daemon_stop(dev->daemon);
	free(dev->daemon);
	dev->daemon = NULL;
}

int vdpa_dev_get(struct vdpa_dev *dev, const struct vdpa_parent *parent,
		 const char **why)
{
	int r;

	memset(dev, 0, sizeof(*dev));
	dev->nas = parent->nas;
	*why = "not the kind of device that -d names";
	if (given_path)
		return vdpa_dev_get_given(dev, parent);

	if (access("/sys/bus/vdpa/devices/" DEV_NAME, F_OK) == 0) {
		snprintf(dev->name, sizeof(dev->name), DEV_NAME);
		vdpa_dev_del(dev);
	}

	r = vdpa_load_parent(parent, why);
	if (r)
		return r;

	snprintf(dev->name, sizeof(dev->name), DEV_NAME);
	if (is_vduse(parent) && vdpa_dev_start_daemon(dev)) {
		*why = "cannot create a VDUSE device: not root, or the name is in use";
		return -ENOENT;
	}
	if (vdpa_dev_add(dev->name, parent)) {
		vdpa_dev_stop_daemon(dev);
		*why = "cannot add a device: not root, or the name is in use";
		return -ENOENT;
	}

	if (vdpa_bind(dev, "vhost_vdpa") || vdpa_dev_find_path(dev)) {
		vdpa_dev_del(dev);
		vdpa_dev_stop_daemon(dev);
		*why = "cannot bind the device to vhost_vdpa";
		return -ENOENT;
	}
	dev->keeps |= !!pci_address(parent);
	dev->created = true;
	vdpa_check_pins(true);
	if (is_mlx5(parent))
		mlx5_mock_set("violations", 0);

	return 0;
}

int vdpa_dev_get_second(struct vdpa_dev *dev, const struct vdpa_parent *parent)
{
	int r;

	memset(dev, 0, sizeof(*dev));
	dev->nas = parent->nas;
	snprintf(dev->name, sizeof(dev->name), DEV_NAME "-2");
	r = given_path ? -ENODEV : vdpa_dev_add(dev->name, parent);
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
	if (dev->created)
		vdpa_dev_del(dev);
	dev->created = false;
	vdpa_dev_stop_daemon(dev);
}

void *vdpa_dev_alloc(const struct vdpa_dev *dev, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS |
		       MAP_POPULATE | (dev->use_va ? MAP_SHARED : MAP_PRIVATE),
		       -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void vdpa_check_pins(bool on)
{
	write_file(SIM_PARAMETERS "check_pins", on ? "Y" : "N");
	mlx5_mock_set("check_pins", on);
}

/* The mlx5 model */

long mlx5_mock_get(const char *file)
{
	char path[128], buf[32];

	snprintf(path, sizeof(path), MLX5_MOCK "%s", file);
	if (read_file(path, buf, sizeof(buf)))
		return -1;

	return strtol(buf, NULL, 0);
}

int mlx5_mock_set(const char *file, unsigned int val)
{
	char path[128], buf[16];

	snprintf(path, sizeof(path), MLX5_MOCK "%s", file);
	snprintf(buf, sizeof(buf), "%u", val);

	return write_file(path, buf);
}

long mlx5_mock_commands(unsigned int opcode)
{
	char key[16];
	long n;

	snprintf(key, sizeof(key), "%#x ", opcode);
	n = read_key(MLX5_MOCK "commands", key);

	return n < 0 ? 0 : n;
}

/* All that the driver has in the model but is not said to be stuck there */
long mlx5_mock_objects(const char *kind)
{
	char key[32];

	snprintf(key, sizeof(key), "%s ", kind);

	return read_key(MLX5_MOCK "objects", key);
}

long vdpa_violations(void)
{
	long n = mlx5_mock_get("violations");

	return n < 0 ? 0 : n;
}

const char *mlx5_mock_violation(void)
{
	static char line[256];

	line[0] = '\0';
	read_file(MLX5_MOCK "violation", line, sizeof(line));

	return line;
}

/* The client: mappings */

static int client_msg(struct vdpa_client *c, unsigned int asid, uint8_t type,
		      uint64_t iova, const void *addr, uint64_t size,
		      uint8_t perm)
{
	struct vhost_msg_v2 msg = {
		.type = VHOST_IOTLB_MSG_V2,
		.asid = asid,
		.iotlb = {
			.type = type,
			.iova = iova,
			.uaddr = (uintptr_t)addr,
			.size = size,
			.perm = perm,
		},
	};

	return write(c->fd, &msg, sizeof(msg)) == sizeof(msg) ? 0 : -errno;
}

int client_map_at(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		  const void *addr, uint64_t size)
{
	return client_map_perm(c, asid, iova, addr, size, VHOST_ACCESS_RW);
}

int client_map_perm(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		    const void *addr, uint64_t size, uint8_t perm)
{
	return client_msg(c, asid, VHOST_IOTLB_UPDATE, iova, addr, size, perm);
}

int client_unmap_at(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		    uint64_t size)
{
	return client_msg(c, asid, VHOST_IOTLB_INVALIDATE, iova, NULL, size, 0);
}

int client_batch(struct vdpa_client *c, unsigned int asid, bool begin)
{
	return client_msg(c, asid, begin ? VHOST_IOTLB_BATCH_BEGIN :
			  VHOST_IOTLB_BATCH_END, 0, NULL, 0, 0);
}

int client_map(struct vdpa_client *c)
{
	return client_map_at(c, c->asid, c->iova, c->page, sizeof(*c->page));
}

int client_unmap(struct vdpa_client *c)
{
	return client_unmap_at(c, c->asid, c->iova, sizeof(*c->page));
}

/* The client: life cycle */

static int client_init(struct vdpa_client *c, const struct vdpa_dev *dev)
{
	struct vhost_vdpa_iova_range range;
	uint32_t nvqs = 1;
	int i;

	if (ioctl(c->fd, VHOST_SET_OWNER) ||
	    ioctl(c->fd, VHOST_VDPA_GET_DEVICE_ID, &c->device_id) ||
	    ioctl(c->fd, VHOST_GET_BACKEND_FEATURES, &c->features) ||
	    ioctl(c->fd, VHOST_VDPA_GET_IOVA_RANGE, &range))
		return -errno;

	/* Older kernels don't tell; there, a network device has no more either */
	if (ioctl(c->fd, VHOST_VDPA_GET_VQS_COUNT, &nvqs))
		nvqs = c->device_id == VIRTIO_ID_NET ? 2 : 1;
	c->nvqs = nvqs < CLIENT_RINGS ? nvqs : CLIENT_RINGS;
	c->iova = range.first > 0x100000 ? range.first : 0x100000;

	c->page = vdpa_dev_alloc(dev, sizeof(*c->page));
	if (!c->page)
		return -errno;

	for (i = 0; i < CLIENT_RINGS; i++) {
		c->kick[i] = eventfd(0, EFD_CLOEXEC);
		if (c->kick[i] < 0)
			return -errno;
	}

	return 0;
}

int client_open(struct vdpa_client *c, const struct vdpa_dev *dev,
		unsigned int asid)
{
	int i, r;

	memset(c, 0, sizeof(*c));
	for (i = 0; i < CLIENT_RINGS; i++) {
		c->kick[i] = -1;
		c->call[i] = -1;
	}
	c->asid = asid;
	c->fd = open(dev->path, O_RDWR | O_CLOEXEC);
	if (c->fd < 0)
		return -errno;

	r = client_init(c, dev);
	if (r)
		client_close(c);

	return r;
}

void client_close(struct vdpa_client *c)
{
	int i;

	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	for (i = 0; i < CLIENT_RINGS; i++) {
		if (c->kick[i] >= 0)
			close(c->kick[i]);
		if (c->call[i] >= 0)
			close(c->call[i]);
	}
	if (c->page)
		munmap(c->page, sizeof(*c->page));
	c->page = NULL;
}

int client_ack(struct vdpa_client *c, uint64_t features)
{
	return ioctl(c->fd, VHOST_SET_BACKEND_FEATURES, &features) ? -errno : 0;
}

static int client_status(struct vdpa_client *c, uint8_t status)
{
	return ioctl(c->fd, VHOST_VDPA_SET_STATUS, &status) ? -errno : 0;
}

int client_reset(struct vdpa_client *c)
{
	return client_status(c, 0);
}

bool client_is_running(struct vdpa_client *c)
{
	uint8_t status = 0;

	return !ioctl(c->fd, VHOST_VDPA_GET_STATUS, &status) &&
	       status & VIRTIO_CONFIG_S_DRIVER_OK &&
	       !(status & VIRTIO_CONFIG_S_FAILED);
}

int client_suspend(struct vdpa_client *c)
{
	struct vhost_vring_state base;
	unsigned int i;

	if (ioctl(c->fd, VHOST_VDPA_SUSPEND))
		return -errno;
	for (i = 0; i < c->nvqs; i++) {
		base.index = i;
		if (ioctl(c->fd, VHOST_GET_VRING_BASE, &base))
			return -errno;
		c->base[i] = base.num;
	}
	c->keep_rings = true;

	return 0;
}

int client_set_group_asid(struct vdpa_client *c, unsigned int vq,
			  unsigned int asid)
{
	struct vhost_vring_state s = { .index = vq };

	if (ioctl(c->fd, VHOST_VDPA_GET_VRING_GROUP, &s))
		return -errno;
	s.index = s.num;
	s.num = asid;

	return ioctl(c->fd, VHOST_VDPA_SET_GROUP_ASID, &s) ? -errno : 0;
}

static int client_start_ring(struct vdpa_client *c, unsigned int i)
{
	uint64_t ring = c->iova + offsetof(struct client_page, ring[i]);
	struct vhost_vring_state num = { .index = i, .num = CLIENT_RING_NUM };
	struct vhost_vring_state base = { .index = i, .num = c->base[i] };
	struct vhost_vring_state enable = { .index = i, .num = 1 };
	struct vhost_vring_file kick = { .index = i, .fd = c->kick[i] };
	struct vhost_vring_file call = { .index = i, .fd = c->call[i] };
	struct vhost_vring_addr addr = {
		.index = i,
		.desc_user_addr = ring,
		.avail_user_addr = ring + offsetof(struct client_page, ring[0].avail),
		.used_user_addr = ring + offsetof(struct client_page, ring[0].used),
	};

	if (ioctl(c->fd, VHOST_SET_VRING_NUM, &num) ||
	    ioctl(c->fd, VHOST_SET_VRING_BASE, &base) ||
	    ioctl(c->fd, VHOST_SET_VRING_ADDR, &addr) ||
	    ioctl(c->fd, VHOST_SET_VRING_KICK, &kick) ||
	    (call.fd >= 0 && ioctl(c->fd, VHOST_SET_VRING_CALL, &call)) ||
	    ioctl(c->fd, VHOST_VDPA_SET_VRING_ENABLE, &enable))
		return -errno;

	return 0;
}

static int client_negotiate(struct vdpa_client *c)
{
	const uint64_t want = BIT_ULL(VIRTIO_F_VERSION_1) |
			      BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) |
			      (c->device_id == VIRTIO_ID_NET ?
			       BIT_ULL(VIRTIO_NET_F_MAC) |
			       BIT_ULL(VIRTIO_NET_F_CTRL_VQ) |
			       BIT_ULL(VIRTIO_NET_F_CTRL_MAC_ADDR) : 0);
	struct vhost_vdpa_config *mac;
	uint64_t features;
	int r = 0;

	if (ioctl(c->fd, VHOST_GET_FEATURES, &features))
		return -errno;
	features &= want;
	if (ioctl(c->fd, VHOST_SET_FEATURES, &features))
		return -errno;
	if (!(features & BIT_ULL(VIRTIO_NET_F_MAC)))
		return 0;

	mac = calloc(1, sizeof(*mac) + sizeof(c->mac));
	if (!mac)
		return -ENOMEM;
	mac->len = sizeof(c->mac);
	if (ioctl(c->fd, VHOST_VDPA_GET_CONFIG, mac))
		r = -errno;
	memcpy(c->mac, mac->buf, sizeof(c->mac));
	free(mac);

	return r;
}

int client_start(struct vdpa_client *c)
{
	const uint8_t found = VIRTIO_CONFIG_S_ACKNOWLEDGE |
			      VIRTIO_CONFIG_S_DRIVER;
	unsigned int i;
	int r;

	if (!c->keep_rings) {
		memset(c->page->ring, 0, sizeof(c->page->ring));
		memset(c->base, 0, sizeof(c->base));
	}
	c->keep_rings = false;

	r = client_status(c, found);
	if (!r)
		r = client_negotiate(c);
	if (!r)
		r = client_status(c, found | VIRTIO_CONFIG_S_FEATURES_OK);
	if (!r && c->asid)
		r = client_set_group_asid(c, 0, c->asid);
	for (i = 0; !r && i < c->nvqs; i++)
		r = client_start_ring(c, i);
	if (!r)
		r = client_status(c, found | VIRTIO_CONFIG_S_FEATURES_OK |
				  VIRTIO_CONFIG_S_DRIVER_OK);

	return r;
}

/* The client: data */

struct part {
	void *addr;		/* in the page */
	uint32_t len;
	bool in;		/* the device writes it */
};

static void client_post(struct vdpa_client *c, unsigned int ring,
			unsigned int first, const struct part *parts,
			unsigned int n)
{
	struct vring_desc *desc = c->page->ring[ring].desc;
	uint16_t *avail_idx = &c->page->ring[ring].avail.idx;
	unsigned int i;

	for (i = 0; i < n; i++) {
		desc[first + i].addr = c->iova +
			((uint8_t *)parts[i].addr - (uint8_t *)c->page);
		desc[first + i].len = parts[i].len;
		desc[first + i].flags = (parts[i].in ? VRING_DESC_F_WRITE : 0) |
			(i + 1 < n ? VRING_DESC_F_NEXT : 0);
		desc[first + i].next = first + i + 1;
	}

	c->page->ring[ring].avail.ring[*avail_idx % CLIENT_RING_NUM] = first;
	__atomic_store_n(avail_idx, *avail_idx + 1, __ATOMIC_RELEASE);
}

int client_kick(struct vdpa_client *c, unsigned int ring)
{
	return eventfd_write(c->kick[ring], 1) ? -errno : 0;
}

int client_wait(struct vdpa_client *c, unsigned int ring, int timeout_ms)
{
	uint16_t *used = &c->page->ring[ring].used.idx;
	uint64_t end = now_ms() + timeout_ms;

	while (__atomic_load_n(used, __ATOMIC_ACQUIRE) !=
	       c->page->ring[ring].avail.idx) {
		if (now_ms() >= end)
			return -ETIMEDOUT;
		usleep(200);
	}

	return 0;
}

int client_want_calls(struct vdpa_client *c)
{
	unsigned int i;

	for (i = 0; i < c->nvqs; i++) {
		c->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (c->call[i] < 0)
			return -errno;
	}

	return 0;
}

int client_wait_call(struct vdpa_client *c, int timeout_ms)
{
	struct pollfd p[CLIENT_RINGS];
	eventfd_t n;
	int i, r;

	for (i = 0; i < CLIENT_RINGS; i++)
		p[i] = (struct pollfd) { .fd = c->call[i], .events = POLLIN };
	r = poll(p, CLIENT_RINGS, timeout_ms);
	if (r <= 0)
		return r ? -errno : -ETIMEDOUT;
	for (i = 0; i < CLIENT_RINGS; i++)
		if (p[i].revents)
			eventfd_read(p[i].fd, &n);

	return 0;
}

/* A frame to oneself, different each time */
static void fill_frame(struct vdpa_client *c, uint8_t *frame, size_t len)
{
	struct ethhdr *eth = (struct ethhdr *)frame;
	size_t i;

	c->seed++;
	for (i = 0; i < len; i++)
		frame[i] = c->seed + i * 7;
	memcpy(eth->h_dest, c->mac, sizeof(c->mac));
	memcpy(eth->h_source, c->mac, sizeof(c->mac));
	eth->h_proto = htobe16(ETH_P_TEST);
}

void client_post_buffer(struct vdpa_client *c, unsigned int slot)
{
	struct part in = { c->page->in, sizeof(c->page->in), true };

	client_post(c, 0, slot, &in, 1);
}

void client_post_frame(struct vdpa_client *c, unsigned int slot)
{
	struct part out = { c->page->out, sizeof(c->page->out), false };

	client_post(c, 1, slot, &out, 1);
}

static int client_io_net(struct vdpa_client *c, int timeout_ms)
{
	const size_t hdr = sizeof(struct virtio_net_hdr_v1);
	const size_t len = sizeof(c->page->out) - hdr;
	int r;

	memset(c->page->out, 0, hdr);
	memset(c->page->in, 0, sizeof(c->page->in));
	fill_frame(c, c->page->out + hdr, len);
	client_post_buffer(c, 0);
	client_post_frame(c, 0);

	r = client_kick(c, 1);
	if (!r)
		r = client_wait(c, 1, timeout_ms);
	if (r || given_no_loop)
		return r;
	r = client_wait(c, 0, timeout_ms);
	if (r)
		return r;

	return memcmp(c->page->out + hdr, c->page->in + hdr, len) ?
	       -EBADMSG : 0;
}

static int client_io_blk_one(struct vdpa_client *c, uint32_t type,
			     uint8_t *data, int timeout_ms)
{
	struct virtio_blk_outhdr *hdr = (void *)c->page->ctrl;
	uint8_t *status = c->page->ctrl + sizeof(*hdr);
	struct part parts[] = {
		{ hdr, sizeof(*hdr), false },
		{ data, SECTOR_SIZE, type == VIRTIO_BLK_T_IN },
		{ status, 1, true },
	};
	int r;

	memset(hdr, 0, sizeof(*hdr));
	hdr->type = htole32(type);
	*status = 0xff;
	client_post(c, 0, 0, parts, 3);

	r = client_kick(c, 0);
	if (!r)
		r = client_wait(c, 0, timeout_ms);

	return r ?: *status == VIRTIO_BLK_S_OK ? 0 : -EBADMSG;
}

static int client_io_blk(struct vdpa_client *c, int timeout_ms)
{
	int r;

	c->seed++;
	memset(c->page->out, c->seed, SECTOR_SIZE);
	memset(c->page->in, ~c->seed, SECTOR_SIZE);

	r = client_io_blk_one(c, VIRTIO_BLK_T_OUT, c->page->out, timeout_ms);
	if (!r)
		r = client_io_blk_one(c, VIRTIO_BLK_T_IN, c->page->in,
				      timeout_ms);
	if (r)
		return r;

	return memcmp(c->page->out, c->page->in, SECTOR_SIZE) ? -EBADMSG : 0;
}

int client_io(struct vdpa_client *c, int timeout_ms)
{
	if (c->device_id == VIRTIO_ID_NET)
		return client_io_net(c, timeout_ms);

	return client_io_blk(c, timeout_ms);
}

static void client_work(const struct vdpa_dev *dev, unsigned int asid, int ready)
{
	struct vdpa_client c;

	if (client_open(&c, dev, asid) || client_ack(&c, c.features) ||
	    client_map(&c) || client_start(&c) ||
	    client_io(&c, IO_TIMEOUT_MS) || write(ready, "x", 1) != 1)
		return;
	for (;;) {
		if (given_no_burst)
			pause();
		else
			client_io(&c, IO_TIMEOUT_MS);
	}
}

pid_t client_fork(const struct vdpa_dev *dev, unsigned int asid)
{
	char ready;
	pid_t pid;
	int p[2];

	if (pipe(p))
		return -errno;
	pid = fork();
	if (!pid) {
		client_work(dev, asid, p[1]);
		_exit(1);
	}
	close(p[1]);
	if (pid > 0 && read(p[0], &ready, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = -EIO;
	}
	close(p[0]);

	return pid;
}

int client_burst(struct vdpa_client *c)
{
	struct virtio_blk_outhdr *hdr = (void *)c->page->ctrl;
	struct part parts[] = {
		{ hdr, sizeof(*hdr), false },
		{ c->page->in, CLIENT_BUF_SIZE - SECTOR_SIZE, true },
		{ c->page->ctrl + sizeof(*hdr), 1, true },
	};
	unsigned int i;

	if (given_no_burst)
		return 0;
	if (c->device_id == VIRTIO_ID_NET) {
		for (i = 0; i < CLIENT_RING_NUM; i++) {
			client_post_buffer(c, i);
			client_post_frame(c, i);
		}
		return client_kick(c, 1);
	}

	memset(hdr, 0, sizeof(*hdr));
	for (i = 0; i + 3 <= CLIENT_RING_NUM; i += 3)
		client_post(c, 0, i, parts, 3);

	return client_kick(c, 0);
}

int client_ctrl(struct vdpa_client *c, int timeout_ms)
{
	struct virtio_net_ctrl_hdr *hdr = (void *)c->page->ctrl;
	uint8_t *mac = c->page->ctrl + sizeof(*hdr);
	uint8_t *ack = mac + sizeof(c->mac);
	struct part parts[] = {
		{ hdr, sizeof(*hdr) + sizeof(c->mac), false },
		{ ack, sizeof(*ack), true },
	};
	int r;

	hdr->class = VIRTIO_NET_CTRL_MAC;
	hdr->cmd = VIRTIO_NET_CTRL_MAC_ADDR_SET;
	memcpy(mac, c->mac, sizeof(c->mac));
	*ack = 0xff;
	client_post(c, 2, 0, parts, 2);

	r = client_kick(c, 2);
	if (!r)
		r = client_wait(c, 2, timeout_ms);

	return r ?: *ack == VIRTIO_NET_OK ? 0 : -EBADMSG;
}

/* The device as virtio-vdpa's drivers see it */

static int netdev_send(int fd, int ifindex, const uint8_t *frame, size_t len)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_ifindex = ifindex,
		.sll_halen = ETH_ALEN,
	};

	return sendto(fd, frame, len, 0, (void *)&to, sizeof(to)) < 0 ?
	       -errno : 0;
}

static int netdev_receive(int fd, const uint8_t *frame, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct sockaddr_ll from;
	socklen_t from_len;
	uint8_t buf[2048];
	ssize_t n;

	for (;;) {
		if (poll(&p, 1, IO_TIMEOUT_MS) <= 0)
			return -ETIMEDOUT;
		from_len = sizeof(from);
		n = recvfrom(fd, buf, sizeof(buf), 0, (void *)&from, &from_len);
		if (n < 0)
			return -errno;
		if (from.sll_pkttype != PACKET_OUTGOING)
			return (size_t)n == len && !memcmp(buf, frame, len) ?
			       0 : -EBADMSG;
	}
}

static int netdev_io(const char *ifname)
{
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htobe16(ETH_P_TEST),
		.sll_ifindex = if_nametoindex(ifname),
	};
	struct vdpa_client frame = {};
	struct ifreq ifr = {};
	uint8_t buf[CLIENT_BUF_SIZE];
	int fd, r = -EIO;

	fd = socket(AF_PACKET, SOCK_RAW, htobe16(ETH_P_TEST));
	if (fd < 0)
		return -errno;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		goto out;
	memcpy(frame.mac, ifr.ifr_hwaddr.sa_data, sizeof(frame.mac));
	frame.seed = now_ms();
	fill_frame(&frame, buf, sizeof(buf));

	if (ioctl(fd, SIOCGIFFLAGS, &ifr))
		goto out;
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) ||
	    bind(fd, (void *)&ll, sizeof(ll)))
		goto out;

	r = netdev_send(fd, ll.sll_ifindex, buf, sizeof(buf));
	if (!r)
		r = netdev_receive(fd, buf, sizeof(buf));
out:
	close(fd);
	return r;
}

static int blkdev_io(const char *path)
{
	int fd, r = -ENOMEM;
	uint8_t *buf;

	fd = open(path, O_RDWR | O_DIRECT);
	if (fd < 0)
		return -errno;
	buf = aligned_alloc(4096, 2 * 4096);
	if (!buf)
		goto out;

	memset(buf, now_ms(), 4096);
	memset(buf + 4096, ~buf[0], 4096);
	r = -EIO;
	if (pwrite(fd, buf, 4096, 0) == 4096 &&
	    pread(fd, buf + 4096, 4096, 0) == 4096)
		r = memcmp(buf, buf + 4096, 4096) ? -EBADMSG : 0;
	free(buf);
out:
	close(fd);
	return r;
}

int virtio_node(const struct vdpa_dev *dev, uint32_t device_id, char *node,
		size_t size)
{
	bool net = device_id == VIRTIO_ID_NET;
	char pattern[256], found[256];
	int r, tries;

	/*
	 * It is below the device that does the DMA: a simulator itself, or what
	 * is above it. Its driver may be probed asynchronously.
	 */
	for (tries = 0; tries < 200; tries++) {
		snprintf(pattern, sizeof(pattern),
			 "/sys/bus/vdpa/devices/%s/%svirtio*/%s/*", dev->name,
			 tries % 2 ? "../" : "", net ? "net" : "block");
		r = find_one(pattern, found, sizeof(found));
		if (!r)
			break;
		usleep(5000);
	}
	if (!r)
		snprintf(node, size, "%s%s", net ? "" : "/dev/",
			 strrchr(found, '/') + 1);

	return r;
}

int virtio_io(const struct vdpa_dev *dev, uint32_t device_id)
{
	char node[256];
	int r;

	r = virtio_node(dev, device_id, node, sizeof(node));
	if (r)
		return r;

	return device_id == VIRTIO_ID_NET ? netdev_io(node) : blkdev_io(node);
}
