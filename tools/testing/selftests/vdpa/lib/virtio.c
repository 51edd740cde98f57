// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_ids.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "dev.h"
#include "io.h"
#include "util.h"

#define ETH_P_TEST	0x88b5	/* IEEE 802: local experimental */
#define SECTOR_SIZE	512
#include "virtio.h"

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
	client_fill_frame(&frame, buf, sizeof(buf));

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

/*
 * The first path that matches below the device of the virtio bus. That is below
 * the device that does the DMA: a simulator itself, or what is above it. Its driver
 * may be probed asynchronously.
 */
static int virtio_find(const struct vdpa_dev *dev, const char *below, char *path,
		       size_t size)
{
	char pattern[256];
	int r, tries;

	for (tries = 0; tries < 200; tries++) {
		snprintf(pattern, sizeof(pattern),
			 "/sys/bus/vdpa/devices/%s/%svirtio*%s", dev->name,
			 tries % 2 ? "../" : "", below);
		r = find_one(pattern, path, size);
		if (!r)
			break;
		usleep(5000);
	}

	return r;
}

int virtio_node(const struct vdpa_dev *dev, char *node, size_t size)
{
	bool net = dev->parent->device_id == VIRTIO_ID_NET;
	char found[256];
	int r;

	r = virtio_find(dev, net ? "/net/*" : "/block/*", found, sizeof(found));
	if (!r)
		snprintf(node, size, "%s%s", net ? "" : "/dev/",
			 strrchr(found, '/') + 1);

	return r;
}

int virtio_status(const struct vdpa_dev *dev)
{
	char path[256], status[16];
	int r;

	r = virtio_find(dev, "/status", path, sizeof(path));
	if (!r)
		r = read_file(path, status, sizeof(status));

	return r ?: (int)strtol(status, NULL, 16);
}

int virtio_bind(const struct vdpa_dev *dev, bool bind)
{
	const char *driver = dev->parent->device_id == VIRTIO_ID_NET ?
			     "virtio_net" : "virtio_blk";
	char path[256], found[256];
	int r;

	r = virtio_find(dev, "", found, sizeof(found));
	if (r)
		return r;
	snprintf(path, sizeof(path), "/sys/bus/virtio/drivers/%s/%s", driver,
		 bind ? "bind" : "unbind");

	return write_file(path, strrchr(found, '/') + 1);
}

/* In a process of its own: a request that hangs cannot be given up */
static int blkdev_io_for_a_while(const char *path)
{
	uint64_t end = now_ms() + 4 * IO_TIMEOUT_MS;
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(-blkdev_io(path));
	while (!waitpid(pid, &status, WNOHANG)) {
		if (now_ms() > end) {
			kill(pid, SIGKILL);
			return -ETIMEDOUT;
		}
		usleep(1000);
	}

	return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

int virtio_io(const struct vdpa_dev *dev)
{
	char node[256];
	int r;

	r = virtio_node(dev, node, sizeof(node));
	if (r)
		return r;

	return dev->parent->device_id == VIRTIO_ID_NET ? netdev_io(node) :
	       blkdev_io_for_a_while(node);
}
