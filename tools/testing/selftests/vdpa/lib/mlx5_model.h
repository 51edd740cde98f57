/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The account of the model of mlx5's firmware (tools/testing/vdpa/mlx5): a
 * number from one of its files, commands of one opcode, objects of one kind
 * ("mkey") that are alive, and its last complaint.
 */
#ifndef SELFTEST_VDPA_MLX5_MODEL_H
#define SELFTEST_VDPA_MLX5_MODEL_H

#include <stdbool.h>

#define MLX5_MOCK	"/sys/kernel/debug/mlx5_mock/"

/* Commands that it takes at a time: as many as it can */
#define MLX5_MAX_ASYNC	(~0U)

/* -1 where there is no model */
long mlx5_mock_get(const char *file);
int mlx5_mock_set(const char *file, unsigned int val);
long mlx5_mock_commands(unsigned int opcode);
long mlx5_mock_objects(const char *kind);
const char *mlx5_mock_violation(void);

/* Another firmware, which the driver looks at when it is bound; without devices */
int mlx5_mock_set_firmware(const char *file, unsigned int val);

struct vdpa_client;

/*
 * The link changes, and the driver has seen it: so has it what it was given to do
 * before, such as a control command, as one thread of its does both.
 */
int mlx5_mock_set_link(struct vdpa_client *c, bool up);

/* Have the @nth command from here on fail; only those of @opcode, if not 0 */
void mlx5_mock_arm(unsigned int nth, unsigned int opcode);
/* Opcode of the command that failed, or 0 */
unsigned int mlx5_mock_disarm(void);
/* Does this one destroy an object? If it fails, the object is there for good */
bool mlx5_mock_destroys(unsigned int opcode);

#endif
