// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client.h"
#include "io.h"
#include "mlx5_model.h"
#include "util.h"

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

int mlx5_mock_set_link(struct vdpa_client *c, bool up)
{
	const uint64_t end = now_ms() + IO_TIMEOUT_MS;
	uint16_t status;
	int r;

	r = mlx5_mock_set("link", up);
	while (!r) {
		r = client_get_config(c, offsetof(struct virtio_net_config, status), &status,
				      sizeof(status));
		if (r || !(status & VIRTIO_NET_S_LINK_UP) == !up)
			break;
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(200);
	}

	return r;
}

#define MLX5_DRIVER	"/sys/bus/auxiliary/drivers/mlx5_vdpa.vnet/"
#define MLX5_DEVICE	"mlx5_core.vnet.0"

int mlx5_mock_set_firmware(const char *file, unsigned int val)
{
	int r = write_file(MLX5_DRIVER "unbind", MLX5_DEVICE), r2;

	if (!r)
		r = mlx5_mock_set(file, val);
	r2 = write_file(MLX5_DRIVER "bind", MLX5_DEVICE);

	return r ?: r2;
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

const char *mlx5_mock_violation(void)
{
	static char line[256];

	line[0] = '\0';
	read_file(MLX5_MOCK "violation", line, sizeof(line));

	return line;
}

void mlx5_mock_arm(unsigned int nth, unsigned int opcode)
{
	if (mlx5_mock_set("fail_opcode", opcode) ||
	    mlx5_mock_set("failed", 0) || mlx5_mock_set("fail_nth", nth))
		abort();
}

unsigned int mlx5_mock_disarm(void)
{
	long failed;

	mlx5_mock_set("fail_nth", 0);
	mlx5_mock_set("fail_more", 0);
	mlx5_mock_set("fail_opcode", 0);

	failed = mlx5_mock_get("failed");

	return failed < 0 ? 0 : failed;
}

bool mlx5_mock_destroys(unsigned int opcode)
{
	switch (opcode) {
	case 0x202:	/* DESTROY_MKEY */
	case 0x401:	/* DESTROY_CQ */
	case 0x501:	/* DESTROY_QP */
	case 0x801:	/* DEALLOC_PD */
	case 0x817:	/* DEALLOC_TRANSPORT_DOMAIN */
	case 0x902:	/* DESTROY_TIR */
	case 0x914:	/* DESTROY_TIS */
	case 0x918:	/* DESTROY_RQT */
	case 0x931:	/* DESTROY_FLOW_TABLE */
	case 0x938:	/* DELETE_FLOW_TABLE_ENTRY */
	case 0xa03:	/* DESTROY_GENERAL_OBJECT */
	case 0xa06:	/* DESTROY_UCTX */
	case 0xa0a:	/* DESTROY_UMEM */
		return true;
	default:
		return false;
	}
}
