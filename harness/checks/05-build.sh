#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the checks after it run. Either kernel is made by all processors, as each
# has parts that keep one busy only.

. "$(dirname "$0")/check-lib.sh"

for flavour in debug fast; do
	beside "build: the $flavour kernel" env JOBS="$(nproc)" "$top/harness/kernel.sh" $flavour
done
wait
check "build: the selftests" "$top/harness/build-selftests.sh"
