#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the checks after it run: QEMU with the series and without, and the guest

. "$(dirname "$0")/../../../harness/checks/check-lib.sh"
. "$patches/migrate-lib.sh"

# See 20-commits.sh
exec 5>"$build/tree.lock"
flock 5
check "build: QEMU" env JOBS="$(nproc)" "$patches/build.sh"
exec 5>&-
check "build: the guest" env JOBS="$(nproc)" bash -c ". '$patches/migrate-lib.sh' && make_guest"
