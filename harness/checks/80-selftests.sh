#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# The selftests in the debug kernel, each test of which counts as one check; what
# takes many rounds, with fewer of them. All rounds are for the fast kernel.

. "$(dirname "$0")/check-lib.sh"

# selftest ARGUMENT...: its single tests count, too
selftest()
{
	local output passed failed

	output=$("$top/harness/selftests.sh" "$@") || true
	read -r passed _ failed _ <<<"$(tail -n 1 <<<"$output")"
	echo "$output"
	seq "$passed" | sed 's/.*/pass/' | tee -a "$TALLY" >"$COUNT"
	[ "$failed" = 0 ] && [ "$passed" != 0 ]
}

built=$("$top/harness/build-selftests.sh")
read -ra programs <<<"$built"
# Those that take longest begin
longest_first()
{
	printf '%s\n' map_path failnth races vhost_vdpa mlx5 handover "${programs[@]}" |
		grep -Fx -f <(printf '%s\n' "${programs[@]}") | awk '!seen[$0]++'
}

for program in $(longest_first); do
	once "selftests: $program, in the debug kernel" selftest --quick "$program"
done
once "selftests: 1,000 resets under traffic" \
	selftest --flavour fast --at-once --test 1000_resets vhost_vdpa
once "selftests: 100 times there and back" \
	selftest --flavour fast --at-once --test 100_times handover
once "selftests: a page is not pinned without end" \
	selftest --flavour fast --test not_pinned_without_end map_path
once "selftests: others get the CPU while 256 MiB are mapped in single pages" \
	selftest --flavour fast --test others_get_the_cpu map_path
once "selftests: ranges beyond 1 GiB" \
	selftest --flavour fast --test has_long_ranges reach
wait
