#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the checks after it run

. "$(dirname "$0")/check-lib.sh"

for flavour in fast debug; do
	alone "build: the $flavour kernel" "$top/harness/kernel.sh" $flavour
done
alone "build: the selftests" "$top/harness/build-selftests.sh"
