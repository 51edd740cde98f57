/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the vDPA selftests share: a vDPA device to test, a client of vhost-vdpa
 * that drives it, and the kernel's own account of pinned pages.
 *
 * Unless said otherwise a function returns 0 or a negative errno, and addresses
 * and sizes are in bytes.
 */
#ifndef SELFTEST_VDPA_UTIL_H
#define SELFTEST_VDPA_UTIL_H

#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Since v6.7; a test skips where it is not offered */
#ifndef VHOST_BACKEND_F_IOTLB_PERSIST
#define VHOST_BACKEND_F_IOTLB_PERSIST 0x8
#endif

#define BIT_ULL(_nr)	(1ULL << (_nr))
#define F_PERSIST	BIT_ULL(VHOST_BACKEND_F_IOTLB_PERSIST)
#define F_BASIC		(BIT_ULL(VHOST_BACKEND_F_IOTLB_MSG_V2) | \
			 BIT_ULL(VHOST_BACKEND_F_IOTLB_BATCH) | \
			 BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID))

#define CLIENT_RINGS	3
#define CLIENT_RING_NUM	8
#define CLIENT_BUF_SIZE	1024

/* How long a device may take, and how long one that must not react is watched */
#define IO_TIMEOUT_MS	5000
#define NO_IO_MS	100

/*
 * The device under test: one that the test creates, or the device that the
 * command line names (-d), which is there already and is left there.
 */
struct vdpa_dev {
	char name[64];		/* on the vdpa bus */
	char path[64];		/* of the character device */
	bool created;
	unsigned int nas;	/* number of address spaces */
	bool use_va;		/* only shared memory is mapped, nothing is pinned */
	bool keeps;		/* its reset has never dropped mappings */
	struct vduse_daemon *daemon;
};

/* A parent that the tests know how to create */
struct vdpa_parent {
	const char *mgmtdev;	/* "pci/ADDRESS" is for vp_vdpa to take */
	bool batch;		/* .set_map rather than .dma_map */
	unsigned int nas;	/* number of address spaces */
	uint32_t device_id;	/* VIRTIO_ID_... */
	unsigned int entries;	/* ranges that an address space holds; 0: all */
};

/* mlx5_vdpa on the model of its firmware, tools/testing/vdpa/mlx5 */
#define MLX5_PARENT	"mlx5"
#define MLX5_MOCK	"/sys/kernel/debug/mlx5_mock/"

/* A disk in a process of the test's own, vduse_daemon.h */
#define VDUSE_PARENT	"vduse"
/* Entries in its IOTLB, few enough to have it full */
#define VDUSE_ENTRIES	16

/* What creates and removes devices, for a test to look at this step itself */
struct vdpa_genl {
	int fd;
	int family;
};

/* All that the device has to reach, in one page */
struct client_page {
	struct {
		struct vring_desc desc[CLIENT_RING_NUM];
		struct {
			uint16_t flags;
			uint16_t idx;
			uint16_t ring[CLIENT_RING_NUM];
		} alignas(64) avail;
		struct {
			uint16_t flags;
			uint16_t idx;
			struct vring_used_elem ring[CLIENT_RING_NUM];
		} alignas(64) used;
	} alignas(4096) ring[CLIENT_RINGS];
	uint8_t out[CLIENT_BUF_SIZE];
	uint8_t in[CLIENT_BUF_SIZE];
	uint8_t ctrl[64];
};

struct vdpa_client {
	int fd;
	uint32_t device_id;
	uint64_t features;	/* backend features that the device offers */
	unsigned int asid;	/* of the group of virtqueue 0 */
	unsigned int nvqs;
	uint64_t iova;		/* where the device finds the page */
	struct client_page *page;
	int kick[CLIENT_RINGS];
	int call[CLIENT_RINGS];
	uint8_t mac[6];
	uint8_t seed;		/* makes each request different */
	uint16_t base[CLIENT_RINGS];
	bool keep_rings;	/* the next client_start() goes on at the bases */
};

/*
 * -d DEV: test this device. -n: it does not loop frames, sending must do.
 * -k: its reset has never dropped mappings. -b: client_burst() does nothing,
 * and the process of client_fork() waits after its first request.
 */
int vdpa_parse_args(int argc, char **argv);

/*
 * Give the test its device, bound to vhost-vdpa. -ENODEV: the device that the
 * command line names is another kind of parent. -ENOENT: something is missing,
 * @why says what.
 */
int vdpa_dev_get(struct vdpa_dev *dev, const struct vdpa_parent *parent,
		 const char **why);
void vdpa_dev_put(struct vdpa_dev *dev);
/*
 * One more like it, beside the first one. -ENODEV, -ENOSPC: the command line
 * names the only one, the parent has no more
 */
int vdpa_dev_get_second(struct vdpa_dev *dev, const struct vdpa_parent *parent);
/*
 * Whether the parent, if it can, looks out for pages that it has mapped and that
 * are not pinned: from vdpa_dev_get() on. It takes time for each page.
 */
void vdpa_check_pins(bool on);
/* Blocks while it is open */
int vdpa_dev_del(const struct vdpa_dev *dev);
/* Load what a device of this kind needs, into vdpa_sim the right parameter */
int vdpa_load_parent(const struct vdpa_parent *parent, const char **why);
/* Unload the parent's modules, which no device may be left of */
int vdpa_unload_parent(const struct vdpa_parent *parent);
int vdpa_bind(const struct vdpa_dev *dev, const char *driver);
/* Memory of a kind that the device can have mapped; NULL if there is none */
void *vdpa_dev_alloc(const struct vdpa_dev *dev, size_t size);

int vdpa_genl_open(struct vdpa_genl *g);
int vdpa_genl_add(struct vdpa_genl *g, const char *name,
		  const struct vdpa_parent *parent);
int vdpa_genl_del(struct vdpa_genl *g, const char *name);

/* client_open() negotiates nothing, client_ack() acknowledges @features */
int client_open(struct vdpa_client *c, const struct vdpa_dev *dev,
		unsigned int asid);
void client_close(struct vdpa_client *c);
int client_ack(struct vdpa_client *c, uint64_t features);

int client_map_at(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		  const void *addr, uint64_t size);
int client_unmap_at(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		    uint64_t size);
/* Begin or end a batch of the above */
int client_batch(struct vdpa_client *c, unsigned int asid, bool begin);
/* With the permissions @perm, VHOST_ACCESS_... */
int client_map_perm(struct vdpa_client *c, unsigned int asid, uint64_t iova,
		    const void *addr, uint64_t size, uint8_t perm);
/* The page itself */
int client_map(struct vdpa_client *c);
int client_unmap(struct vdpa_client *c);

/* The virtio life cycle; client_start() sets the rings up as empty ones */
int client_reset(struct vdpa_client *c);
int client_start(struct vdpa_client *c);
/* Did the device take DRIVER_OK? */
bool client_is_running(struct vdpa_client *c);
/* Suspend, and have the next start go on where the device stopped */
int client_suspend(struct vdpa_client *c);
int client_set_group_asid(struct vdpa_client *c, unsigned int vq,
			  unsigned int asid);

/*
 * Have the device move data: a frame that comes back, or a sector that is
 * written and read. -ETIMEDOUT: it did not react; -EBADMSG: what came back is
 * not what was sent.
 */
int client_io(struct vdpa_client *c, int timeout_ms);
/* Fill the rings and do not wait */
int client_burst(struct vdpa_client *c);
/*
 * A process that opens the device, maps, starts and works until it is killed.
 * Returns its number once it works.
 */
pid_t client_fork(const struct vdpa_dev *dev, unsigned int asid);
/* Parts of the above: a buffer, a frame; until all of a ring is used */
void client_post_buffer(struct vdpa_client *c, unsigned int slot);
void client_post_frame(struct vdpa_client *c, unsigned int slot);
int client_kick(struct vdpa_client *c, unsigned int ring);
int client_wait(struct vdpa_client *c, unsigned int ring, int timeout_ms);
/* From its next start on, have the device say that it has used something ... */
int client_want_calls(struct vdpa_client *c);
/* ... and wait until it does so for any ring. -ETIMEDOUT: it does not */
int client_wait_call(struct vdpa_client *c, int timeout_ms);
/* Set the MAC address of a network device through its control virtqueue */
int client_ctrl(struct vdpa_client *c, int timeout_ms);

/* What a driver bound to virtio-vdpa sees of the device */
int virtio_node(const struct vdpa_dev *dev, uint32_t device_id, char *node,
		size_t size);
int virtio_io(const struct vdpa_dev *dev, uint32_t device_id);

/*
 * The model's account: a number from one of its files, commands of one opcode,
 * objects of one kind ("mkey") that are alive, and its last complaint.
 */
long mlx5_mock_get(const char *file);
int mlx5_mock_set(const char *file, unsigned int val);
long mlx5_mock_commands(unsigned int opcode);
long mlx5_mock_objects(const char *kind);
const char *mlx5_mock_violation(void);
/* What no driver may do, since vdpa_dev_get(); 0 where nobody looks */
long vdpa_violations(void);

/* Pages that are pinned in the whole system, and by the caller's memory */
long pins_in_system(void);
/* ... and those that were pinned since boot, unpinned since or not */
long pins_ever(void);
long pins_of_process(void);
/* Physical address of what is at @addr, which must be in memory; 0 if unknown */
uint64_t phys_addr(const void *addr);
/* Will what is there be written back? -1: can't tell */
int phys_dirty(uint64_t pa);

/*
 * Memory in pages of 4 KiB that do not follow each other, in an order that is
 * always the same; NULL if there is not enough
 */
void *shuffled_alloc(size_t size);

/*
 * Have the @nth allocation of memory of this thread from here on fail. Returned
 * by fault_disarm(): was there one? -ENOENT: no fault injection in this kernel.
 */
int fault_init(void);
void fault_arm(unsigned int nth);
bool fault_disarm(void);

/* Errors in the kernel log since the last call, the first into @line */
int log_errors(char *line, size_t size);

int write_file(const char *path, const char *text);

#endif
