// SPDX-License-Identifier: GPL-2.0
/*
 * Process 1 of the guest that make migrate boots, reboots and migrates.
 *
 * It does what it reads on its console, a word a line, and answers each with a
 * line that begins with "guest:". Meanwhile numbered frames go out of the network
 * interface, to the interface's own address, so that the device returns them. They go from
 * each processor in turn, as each has a transmit queue of its own, if there are so many, and
 * with different senders, by which some devices choose the receive queue.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define DRIVER "/sys/bus/virtio/drivers/virtio_net/"
#define INTERFACE "eth0"
/* For local experiments */
#define ETHERTYPE 0x88b5
#define MAX_FRAMES 100000
#define INTERVAL_MS 5
/* At the least, between two reports */
#define ENOUGH 20

struct frame {
	struct ethhdr eth;
	uint32_t number;
	char padding[60 - sizeof(struct ethhdr) - sizeof(uint32_t)];
} __attribute__((packed));

static int sock = -1;
static struct frame frame;
static char device[64];
static unsigned int cpus;

/* What came back of the frames with these numbers */
static uint8_t seen[MAX_FRAMES];
static uint32_t sent;
static unsigned int refused;

/* What the driver counts: names, and values */
#define MAX_STATS 256
static struct {
	struct ethtool_gstrings head;
	char name[MAX_STATS][ETH_GSTRING_LEN];
} names;

static struct stats {
	struct ethtool_stats head;
	uint64_t value[MAX_STATS];
} stats;

static __attribute__((format(printf, 1, 2))) void say(const char *format, ...)
{
	char line[256];
	va_list args;
	int n = snprintf(line, sizeof(line), "guest: ");

	va_start(args, format);
	n += vsnprintf(line + n, sizeof(line) - n - 1, format, args);
	va_end(args);
	line[n++] = '\n';
	/* In one go, or the kernel's messages get in between */
	if (write(1, line, n) != n)
		_exit(1);
}

/* In ms */
static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* In this order: each needs the one before */
static void load_modules(void)
{
	static const char *const files[] = {
		"/failover.ko", "/net_failover.ko", "/virtio_net.ko",
	};
	unsigned int i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int fd = open(files[i], O_RDONLY);

		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			say("FAILED: %s: %s", files[i], strerror(errno));
		if (fd >= 0)
			close(fd);
	}
}

/* The name of the virtio device, as its driver has it */
static bool find_device(void)
{
	DIR *dir = opendir(DRIVER);
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		if (!strncmp(entry->d_name, "virtio", 6)) {
			snprintf(device, sizeof(device), "%.60s", entry->d_name);
			found = true;
		}
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool open_interface(void)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETHERTYPE),
	};
	struct ifreq ifr = { .ifr_name = INTERFACE };

	sock = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETHERTYPE));
	if (sock < 0 || ioctl(sock, SIOCGIFFLAGS, &ifr))
		goto fail;
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &ifr) || ioctl(sock, SIOCGIFHWADDR, &ifr))
		goto fail;
	memcpy(frame.eth.h_dest, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	memcpy(frame.eth.h_source, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	frame.eth.h_proto = htons(ETHERTYPE);
	if (ioctl(sock, SIOCGIFINDEX, &ifr))
		goto fail;
	addr.sll_ifindex = ifr.ifr_ifindex;
	if (bind(sock, (struct sockaddr *)&addr, sizeof(addr)))
		goto fail;
	return true;

fail:
	if (sock >= 0)
		close(sock);
	sock = -1;
	return false;
}

/* From the processors in turn; which queue takes it in is another matter */
static void choose_queues(void)
{
	static unsigned int turn;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(turn % cpus, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		say("FAILED: processor %u: %s", turn % cpus, strerror(errno));
	frame.eth.h_source[ETH_ALEN - 1] = frame.eth.h_dest[ETH_ALEN - 1] + turn / cpus;
	turn++;
}

static void send_frame(void)
{
	if (sock < 0 || sent == MAX_FRAMES)
		return;
	if (cpus > 1)
		choose_queues();
	frame.number = htonl(sent);
	if (send(sock, &frame, sizeof(frame), 0) == sizeof(frame))
		sent++;
	else
		refused++;
}

static void receive_frames(void)
{
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	struct frame got;

	while (recvfrom(sock, &got, sizeof(got), 0, (struct sockaddr *)&from, &len) >=
	       (ssize_t)sizeof(got)) {
		uint32_t number = ntohl(got.number);

		/* A copy of what is sent comes by, too */
		if (from.sll_pkttype != PACKET_OUTGOING && number < MAX_FRAMES &&
		    seen[number] < UINT8_MAX)
			seen[number]++;
		len = sizeof(from);
	}
}

static unsigned int count_lost(void)
{
	unsigned int lost = 0;
	uint32_t i;

	for (i = 0; i < sent; i++)
		lost += !seen[i];
	return lost;
}

static bool ethtool(void *command)
{
	struct ifreq ifr = { .ifr_name = INTERFACE, .ifr_data = command };

	return !ioctl(sock, SIOCETHTOOL, &ifr);
}

/* How many queues, of either kind, have moved frames since the last time */
static unsigned int count_queues(void)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct stats last = stats;
	unsigned int i, n = 0;

	names.head = (struct ethtool_gstrings){
		.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_STATS,
	};
	stats.head = (struct ethtool_stats){ .cmd = ETHTOOL_GSTATS };
	if (sock < 0 || !ethtool(&info) || info.n_stats > MAX_STATS ||
	    !ethtool(&names) || !ethtool(&stats))
		return 0;
	for (i = 0; i < info.n_stats; i++)
		n += strstr(names.name[i], "queue_") && strstr(names.name[i], "_packets") &&
		     !strstr(names.name[i], "xdp") && stats.value[i] != last.value[i];
	return n;
}

/* Tell how all frames since the last report have fared, when there are enough of them
 * and what is under way has had a while to arrive
 */
static void report(void)
{
	unsigned int twice = 0;
	uint32_t i;

	while (sock >= 0 && sent < ENOUGH && refused < ENOUGH) {
		send_frame();
		receive_frames();
		usleep(INTERVAL_MS * 1000);
	}
	/* A copy of one may come later than the frame itself */
	for (i = 0; i < 20 || (i < 200 && count_lost()); i++) {
		receive_frames();
		usleep(5000);
	}
	for (i = 0; i < sent; i++)
		twice += seen[i] > 1;
	say("frames sent %u lost %u twice %u refused %u queues %u", sent, count_lost(), twice,
	    refused, count_queues());
	memset(seen, 0, sizeof(seen));
	sent = refused = 0;
}

static void unbind_driver(void)
{
	double start;
	bool ok;

	report();
	close(sock);
	sock = -1;
	memset(&stats, 0, sizeof(stats));
	start = now();
	ok = write_file(DRIVER "unbind", device);
	say("unbind %s %.2f", ok ? "done" : "FAILED", now() - start);
}

static void bind_driver(void)
{
	double start = now();
	bool ok = write_file(DRIVER "bind", device) && open_interface();

	say("bind %s %.2f", ok ? "done" : "FAILED", now() - start);
}

static void do_command(const char *word)
{
	if (!strcmp(word, "report")) {
		report();
	} else if (!strcmp(word, "unbind")) {
		unbind_driver();
	} else if (!strcmp(word, "bind")) {
		bind_driver();
	} else if (!strcmp(word, "reboot")) {
		report();
		reboot(RB_AUTOBOOT);
	} else if (*word) {
		say("what is %s?", word);
	}
}

static void read_commands(void)
{
	static char line[64];
	static unsigned int length;
	char c;

	while (read(0, &c, 1) == 1) {
		if (c == '\n' || c == '\r') {
			line[length] = '\0';
			length = 0;
			do_command(line);
		} else if (length < sizeof(line) - 1) {
			line[length++] = c;
		}
	}
}

int main(void)
{
	struct pollfd fd[2] = {
		{ .fd = 0, .events = POLLIN },
		{ .events = POLLIN },
	};
	double next;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	fcntl(0, F_SETFL, O_NONBLOCK);
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	load_modules();
	if (!find_device() || !open_interface()) {
		say("FAILED: no network");
		pause();
	}
	say("up");

	next = now();
	while (1) {
		fd[1].fd = sock;
		poll(fd, 2, 1);
		if (fd[0].revents & POLLIN)
			read_commands();
		if (sock >= 0)
			receive_frames();
		if (now() - next >= INTERVAL_MS) {
			next = now();
			send_frame();
		}
	}
}
