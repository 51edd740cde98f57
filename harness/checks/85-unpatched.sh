#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# The selftests on the modules of the base. What an old client depends on must
# pass there as it does on ours: "as before" is measured, not asserted. What is
# skipped or fails there is listed, so that each test has been seen to notice
# the kernel that lacks the series.

. "$(dirname "$0")/check-lib.sh"
. "$top/harness/selftests-lib.sh"

expected=$patches/expected-unpatched

as_expected()
{
	local results=$log/selftests/unpatched-fast/$1 without options=()

	without=$(list "$expected" | sed -n "s/^$1 without //p")
	[ ! "$without" ] || options=(--without "$without")
	rm -f "$results"
	"$top/harness/selftests.sh" --unpatched --flavour fast --quick "${options[@]}" "$1" || true
	list "$expected" | sed -n "s/^$1 //p" | grep -v '^without ' | diff - "$results"
}

built=$("$top/harness/build-selftests.sh")
read -ra programs <<<"$built"
for program in "${programs[@]}"; do
	# "PROGRAM none": it cannot run there
	! list "$expected" | grep -x "$program none" >/dev/null || continue
	once "unpatched: each test of $program passes, fails or is skipped as listed" \
		as_expected "$program"
done
wait
