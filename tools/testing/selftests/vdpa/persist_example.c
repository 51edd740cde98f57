// SPDX-License-Identifier: GPL-2.0
/*
 * Not a test, but an example: all that a program has to do to map its memory
 * for a vDPA device once, and to reset the device as often as it likes.
 *
 * The device is a network device that sends back what is sent to everybody, as
 * the simulator does. Prints whether it still reaches the memory after a reset,
 * and what it takes to have it work again, in ns of the monotonic clock (under
 * qemu -icount shift=0 that is instructions).
 */
#include <err.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef VHOST_BACKEND_F_IOTLB_PERSIST		/* since v6.7 */
#define VHOST_BACKEND_F_IOTLB_PERSIST	0x8
#endif

#define IOVA		0x100000000ULL		/* where the device finds the memory */

enum { RX, TX, QUEUES };

static int fd, kick[QUEUES];
static bool persist;
static size_t size;
static struct {					/* 16 * n bytes: descriptors are aligned */
	char ring[2048], header[12], frame[68];
} *memory;					/* two of them, then anything */
static struct vring ring[QUEUES];

#define IOCTL(request, arg) \
	(ioctl(fd, request, arg) < 0 ? err(1, #request) : (void)0)

/* 1. What the kernel offers, 2. is acknowledged before anything is mapped */
static void negotiate(void)
{
	uint64_t features;

	IOCTL(VHOST_SET_OWNER, NULL);
	IOCTL(VHOST_GET_BACKEND_FEATURES, &features);
	features &= 1ULL << VHOST_BACKEND_F_IOTLB_MSG_V2 |
		    1ULL << VHOST_BACKEND_F_IOTLB_BATCH |
		    1ULL << VHOST_BACKEND_F_IOTLB_PERSIST;
	IOCTL(VHOST_SET_BACKEND_FEATURES, &features);
	persist = features >> VHOST_BACKEND_F_IOTLB_PERSIST & 1;
}

static void iotlb(uint8_t type)
{
	struct vhost_msg_v2 msg = {
		.type = VHOST_IOTLB_MSG_V2,
		.iotlb = { .type = type, .iova = IOVA, .size = size,
			   .uaddr = (uintptr_t)memory, .perm = VHOST_ACCESS_RW },
	};

	if (write(fd, &msg, sizeof(msg)) != sizeof(msg))
		err(1, "IOTLB message %d", type);
}

/* 3. Map. In a batch the parent hears of all changes at once */
static void change_map(uint8_t type)
{
	iotlb(VHOST_IOTLB_BATCH_BEGIN);
	iotlb(type);
	iotlb(VHOST_IOTLB_BATCH_END);
}

/* What the device is given are not pointers */
static uint64_t to_iova(void *p)
{
	return IOVA + (uintptr_t)p - (uintptr_t)memory;
}

static void start_queue(unsigned int index)
{
	struct vring *vr = &ring[index];
	struct vhost_vring_state state = { .index = index };
	struct vhost_vring_file file = { .index = index, .fd = kick[index] };
	struct vhost_vring_addr addr = { .index = index };

	memset(&memory[index], 0, sizeof(memory[index]));
	vring_init(vr, 2, memory[index].ring, 64);
	vr->desc[0].addr = to_iova(memory[index].header);
	vr->desc[0].len = sizeof(memory->header) + sizeof(memory->frame);
	vr->desc[0].flags = index == RX ? VRING_DESC_F_WRITE : 0;

	addr.desc_user_addr = to_iova(vr->desc);
	addr.avail_user_addr = to_iova(vr->avail);
	addr.used_user_addr = to_iova(vr->used);
	IOCTL(VHOST_SET_VRING_ADDR, &addr);
	IOCTL(VHOST_SET_VRING_BASE, &state);
	state.num = 2;
	IOCTL(VHOST_SET_VRING_NUM, &state);
	IOCTL(VHOST_SET_VRING_KICK, &file);
	state.num = 1;
	IOCTL(VHOST_VDPA_SET_VRING_ENABLE, &state);
}

static void set_status(uint8_t status)
{
	IOCTL(VHOST_VDPA_SET_STATUS, &status);
}

static void start(void)
{
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	uint64_t features;

	set_status(status);
	IOCTL(VHOST_GET_FEATURES, &features);
	features &= 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_ACCESS_PLATFORM;
	IOCTL(VHOST_SET_FEATURES, &features);
	set_status(status |= VIRTIO_CONFIG_S_FEATURES_OK);
	start_queue(RX);
	start_queue(TX);
	set_status(status |= VIRTIO_CONFIG_S_DRIVER_OK);
}

/* 4. Reset at will */
static void reset_and_start(void)
{
	if (!persist)
		change_map(VHOST_IOTLB_INVALIDATE);
	set_status(0);
	if (!persist)
		change_map(VHOST_IOTLB_UPDATE);
	start();
}

/* Does a frame come back within a second? */
static bool moves_data(void)
{
	uint16_t *used = &ring[RX].used->idx;
	int queue, i;

	memset(memory[TX].frame, 0xff, sizeof(memory->frame));
	for (queue = RX; queue < QUEUES; queue++) {
		__atomic_store_n(&ring[queue].avail->idx, 1, __ATOMIC_RELEASE);
		eventfd_write(kick[queue], 1);
	}
	for (i = 0; i < 1000 && !__atomic_load_n(used, __ATOMIC_ACQUIRE); i++)
		usleep(1000);

	return *used && !memcmp(memory[RX].frame, memory[TX].frame,
				sizeof(memory->frame));
}

int main(int argc, char **argv)
{
	struct timespec begin, end;
	bool reaches;

	if (argc != 3)
		errx(2, "Usage: %s /dev/vhost-vdpa-N MIB", argv[0]);
	size = strtoul(argv[2], NULL, 10) << 20;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	fd = open(argv[1], O_RDWR);
	if (memory == MAP_FAILED || fd < 0)
		err(1, "%s", argv[1]);
	kick[RX] = eventfd(0, 0);
	kick[TX] = eventfd(0, 0);

	negotiate();
	change_map(VHOST_IOTLB_UPDATE);
	start();
	if (!moves_data())
		errx(1, "no frame comes back");

	/* What no program should do where it has not been offered */
	set_status(0);
	start();
	reaches = moves_data();

	reset_and_start();
	clock_gettime(CLOCK_MONOTONIC, &begin);
	reset_and_start();
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (!moves_data())
		errx(1, "no frame comes back after a reset");
	printf("mib=%zu offered=%d reaches=%d ns=%lld\n", size >> 20, persist,
	       reaches, (end.tv_sec - begin.tv_sec) * 1000000000LL +
	       end.tv_nsec - begin.tv_nsec);

	return 0;
}
