// SPDX-License-Identifier: GPL-2.0
/* replay FILE...: what the fuzzer has found or kept, once more, without libFuzzer */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

static void replay(const char *path)
{
	static uint8_t data[FUZZ_HEAD + FUZZ_OP * FUZZ_MAX_OPS];
	FILE *file = fopen(path, "re");
	size_t size;

	if (!file) {
		perror(path);
		exit(1);
	}
	size = fread(data, 1, sizeof(data), file);
	fclose(file);
	if (size < FUZZ_HEAD) {
		fprintf(stderr, "%s: not an input\n", path);
		exit(1);
	}
	/* Should the kernel end here, the last line says where */
	printf("# %s\n", path);
	fflush(stdout);
	fuzz_one(data, size);
}

int main(int argc, char **argv)
{
	int i;

	if (argc < 2) {
		fprintf(stderr, "usage: replay FILE...\n");
		return 2;
	}
	setenv("FUZZ_CAREFUL", "y", 1);
	fuzz_init();
	for (i = 1; i < argc; i++)
		replay(argv[i]);
	printf("ok: ");
	fuzz_report();

	return 0;
}
