/* SPDX-License-Identifier: GPL-2.0 */
/* The parents that the tests know how to create devices of */
#ifndef SELFTEST_VDPA_PARENT_H
#define SELFTEST_VDPA_PARENT_H

#include <linux/virtio_ids.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fault_source;
struct vdpa_dev;
struct vdpa_parent;

/* What one kind of parent needs, and what is true of each of its devices */
struct vdpa_parent_ops {
	/* Load its modules, with the right parameters. Fails with @why */
	int (*load)(const struct vdpa_parent *parent, const char **why);
	/* Unload its modules, which no device may be left of */
	int (*unload)(void);
	/* Address of the PCI device that it manages (optional) */
	int (*pci_address)(const struct vdpa_parent *parent, char *address,
			   size_t size);
	/* Before the device is added and after it is deleted (optional) */
	int (*start)(struct vdpa_dev *dev);
	void (*stop)(struct vdpa_dev *dev);
	/* Look out for pages that are mapped and not pinned (optional) */
	void (*check_pins)(bool on);
	/* How often a driver did what no driver may do, and the last (optional) */
	long (*violations)(void);
	const char *(*violation)(void);
	/* What of it can be made to fail, up to one without a name (optional) */
	const struct fault_source *faults;
	/* How often a device was refused memory that it asked for (optional) */
	long (*refusals)(const struct vdpa_dev *dev);

	bool stands_for_given;	/* its tests are those of a device that -d names */
	bool set_mac;		/* a network device is given its address */
	bool use_va;		/* only shared memory is mapped, nothing is pinned */
	bool keeps;		/* its reset has never dropped mappings */
};

/* A parent in one configuration */
struct vdpa_parent {
	const struct vdpa_parent_ops *ops;
	const char *mgmtdev;
	const char *module;	/* which has added its devices */
	bool batch;		/* .set_map rather than .dma_map */
	unsigned int nas;	/* number of address spaces */
	uint32_t device_id;	/* VIRTIO_ID_... */
	unsigned int entries;	/* ranges that an address space holds; 0: all */
	uint16_t vq_pairs;	/* of a network device; 0: the parent's choice ... */
	uint16_t mtu;		/* ... as is this */
	bool desc_group;	/* firmware with a key for the rings alone ... */
	bool resumable;		/* ... that can resume a virtqueue */
	bool no_reset_map;	/* it lacks .reset_map and .compat_reset ... */
	bool no_compat_reset;	/* ... or the latter */
	bool packed;		/* it offers packed rings, too */
};

extern const struct vdpa_parent_ops sim_ops;
extern const struct vdpa_parent_ops mlx5_ops;
extern const struct vdpa_parent_ops vduse_ops;
extern const struct vdpa_parent_ops vp_vdpa_ops;

/* The simulator. More members of struct vdpa_parent may follow */
#define SIM_NET(_batch, ...)						\
	{ .ops = &sim_ops, .mgmtdev = "vdpasim_net", .module = "vdpa_sim_net",	\
	  .batch = (_batch), .nas = 2, .device_id = VIRTIO_ID_NET, ##__VA_ARGS__ }
#define SIM_BLK(_batch, ...)						\
	{ .ops = &sim_ops, .mgmtdev = "vdpasim_blk", .module = "vdpa_sim_blk",	\
	  .batch = (_batch), .nas = 1, .device_id = VIRTIO_ID_BLOCK, ##__VA_ARGS__ }

/* mlx5_vdpa on the model of its firmware, tools/testing/vdpa/mlx5 */
#define MLX5_NET							\
	{ .ops = &mlx5_ops, .mgmtdev = "mlx5", .module = "mlx5_vdpa",	\
	  .batch = true, .nas = 2, .device_id = VIRTIO_ID_NET }
#define MLX5_NET_RINGS(_resumable)					\
	{ .ops = &mlx5_ops, .mgmtdev = "mlx5", .module = "mlx5_vdpa",	\
	  .batch = true, .nas = 2, .device_id = VIRTIO_ID_NET,		\
	  .desc_group = true, .resumable = (_resumable) }
#define MLX5_NET_MQ(_pairs)						\
	{ .ops = &mlx5_ops, .mgmtdev = "mlx5", .module = "mlx5_vdpa",	\
	  .batch = true, .nas = 2, .device_id = VIRTIO_ID_NET,		\
	  .vq_pairs = (_pairs) }

/* A disk in a process of the test's own, vduse_daemon.h */
#define VDUSE_BLK_ENTRIES(_n, ...)					\
	{ .ops = &vduse_ops, .mgmtdev = "vduse", .module = "vduse",	\
	  .batch = true, .nas = 1, .device_id = VIRTIO_ID_BLOCK,	\
	  .entries = (_n), ##__VA_ARGS__ }
#define VDUSE_BLK	VDUSE_BLK_ENTRIES(VDUSE_ENTRIES)
/* Entries in its IOTLB, few enough to have it full */
#define VDUSE_ENTRIES	16

/* A disk on the PCI bus, at an address of which vp_vdpa takes it */
#define VP_VDPA_BLK(_address)						\
	{ .ops = &vp_vdpa_ops, .mgmtdev = (_address), .module = "vp_vdpa",	\
	  .batch = true, .nas = 1, .device_id = VIRTIO_ID_BLOCK }

/* Is it loaded as most tests have it, or not at all? */
bool sim_is_standard(void);

/* Have it back with the driver that the system prefers */
void vp_vdpa_give_back(const char *address);

int vdpa_load_parent(const struct vdpa_parent *parent, const char **why);
int vdpa_unload_parent(const struct vdpa_parent *parent);
/*
 * Remove only the module that has added the devices, and with it those; or any one.
 * -EAGAIN: it is in use
 */
int vdpa_remove_module(const struct vdpa_parent *parent);
int unload_module(const char *module);

/* For those who implement a parent. Load what of @modules is missing ... */
int load_modules(const char *const modules[], const char **why);
bool modules_are_loaded(const char *const modules[]);
/* ... or one, with parameters, unless it is there already */
int load_module(const char *module, const char *const parameters[],
		const char **why);

#endif
