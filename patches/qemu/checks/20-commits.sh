#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# Each commit builds by itself, without a warning, and so do its unit tests. They are built
# one after the other where QEMU is, with the tree at that commit for as long; tree.lock keeps others away from it.

. "$(dirname "$0")/../../../harness/checks/check-lib.sh"

obj=$build/obj

build_at()
{
	local targets=(qemu-system-x86_64) test

	gt checkout -q --detach "$1"
	for test in tests/unit/test-vhost-{vdpa-maps,svq}; do
		! gt cat-file -e "$1:$test.c" 2>/dev/null || targets+=("$test")
	done
	PYTHONPATH=$build/tools/usr/lib/python3/dist-packages ninja -C "$obj" "${targets[@]}"
}

# Those that were not built yet; what passed is remembered
build_all()
{
	local commit key

	tree_untouched
	trap 'gt checkout -q vdpa-persist' EXIT
	for commit in $(gt rev-list --reverse "base..$made"); do
		[ -z "$(topic_name "$commit")" ] || continue
		key=$({ gt rev-parse "$commit^{tree}"; cat "$0" "$patches/build.sh"; gcc --version; } |
			digest)
		[ ! -e "$passed/$key" ] || continue
		about "$commit"
		build_at "$commit"
		remember "$key" none
	done
	gt checkout -q vdpa-persist
	trap - EXIT
	"$patches/build.sh"
}

exec 5>"$build/tree.lock"
flock 5
check "qemu: each commit builds" build_all
