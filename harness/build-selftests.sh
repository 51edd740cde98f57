#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Build the selftests of the tree into build/<base>/selftests, for the guest,
# which runs the host's userspace. Prints the names of the tests.

. "$(dirname "$0")/lib.sh"

need selftests
source=$tree/tools/testing/selftests/vdpa
binaries=$build/selftests
obj=$(obj_dir fast)

[ -d "$source" ] || exit 0
mkdir -p "$binaries" "$obj"
# Another script may be about to
exec 6>"$build/selftests.lock"
flock 6
step "building the selftests"
logged selftests-headers make -C "$tree" O="$obj" ARCH=x86_64 -s headers
# In 6.12 the kernel's own kselftest_harness.h has variables that longjmp() may clobber
logged selftests-build make -C "$source" OUTPUT="$binaries" \
	KHDR_INCLUDES="-isystem $obj/usr/include" USERCFLAGS='-Werror -Wno-error=clobbered'
# shellcheck disable=SC2016
make -s -C "$source" OUTPUT="$binaries" \
	--eval 'programs: ; @echo $(notdir $(TEST_GEN_PROGS))' programs
