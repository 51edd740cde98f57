#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Each commit compiles, and passes sparse, without a warning that the base does
# not give

. "$(dirname "$0")/check-lib.sh"

selftests=tools/testing/selftests/vdpa

# build_at COMMIT: the objects that the commit changes are compiled
build_at()
{
	check_checkout "$1"
	# shellcheck disable=SC2086
	check_make -k W=1 C=1 $check_dirs 2>&1 | tee "$log/check/W1-$1" >/dev/null
	nothing_new "$log/check/W1-$base_commit" "$log/check/W1-$1"
	[ -d "$check_tree/$selftests" ] || return 0
	check_make -s headers
	rm -rf "$build/check-selftests"
	mkdir -p "$build/check-selftests"
	make -C "$check_tree/$selftests" OUTPUT="$build/check-selftests" \
		KHDR_INCLUDES="-isystem $check_obj/usr/include" \
		USERCFLAGS='-Wall -Werror'
}

need sparse:sparse
base_commit=$(gt rev-parse base)
check "compile: the configuration takes in every vDPA driver" \
	eval 'check_checkout base; check_configure'
# Of each object, or what it warned about last time would be missing
find "$check_obj"/drivers/{vdpa,vhost,virtio} -name '*.o' -delete 2>/dev/null || true
check "compile: base, W=1 and sparse" build_at "$base_commit"
for commit in $(gt rev-list --reverse "base..$made"); do
	[ -z "$(topic_name "$commit")" ] || continue
	check "compile: $(gt log -1 --format=%s "$commit"), W=1 and sparse" build_at "$commit"
done
