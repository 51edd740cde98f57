/* SPDX-License-Identifier: GPL-2.0 */
/* What a driver bound to virtio-vdpa sees of the device */
#ifndef SELFTEST_VDPA_VIRTIO_H
#define SELFTEST_VDPA_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>

struct vdpa_dev;

/* The name of the network interface, or the path of the disk */
int virtio_node(const struct vdpa_dev *dev, char *node, size_t size);
/* Have it move data: a frame that comes back, a block written and read */
int virtio_io(const struct vdpa_dev *dev);
/* Its status, VIRTIO_CONFIG_S_..., as virtio's drivers see it; negative: errno */
int virtio_status(const struct vdpa_dev *dev);
/* Take it from its driver on the virtio bus, or have that probe it */
int virtio_bind(const struct vdpa_dev *dev, bool bind);

#endif
