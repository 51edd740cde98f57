#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The two kernels and the selftests, which the other checks use. The kernels are built
# side by side, each with all processors: while one is linked, the other one compiles.

. "$(dirname "$0")/check-lib.sh"

for flavour in debug fast; do
	beside "build: the $flavour kernel" env JOBS="$(nproc)" "$top/harness/kernel.sh" $flavour
done
wait
check "build: the selftests" "$top/harness/build-selftests.sh"
