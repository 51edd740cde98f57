// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <stdlib.h>

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
