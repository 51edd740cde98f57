#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the checks after it run. There is no patch that would want the debug kernel.

. "$(dirname "$0")/../../../harness/checks/check-lib.sh"

check "build: the fast kernel" env JOBS="$(nproc)" "$top/harness/kernel.sh" fast
check "build: the selftests" "$top/harness/build-selftests.sh"
