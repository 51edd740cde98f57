#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Build the selftests of the tree and run them in the debug kernel. Ends with
# "N passed, N failed" of the single tests; what is skipped did not pass, but for
# tests of what a parent did before the series, which not all did the same.

. "$(dirname "$0")/lib.sh"

read -ra programs <<<"$("$top/harness/build-selftests.sh")"

run()
{
	local tap=$log/selftest-$1.tap

	step "running $1 in the debug kernel"
	"$top/harness/vm.sh" --flavour debug --mlx5 --timeout 1800 \
		-- "$build/selftests/$1" >"$tap" 2>"$tap.err" || true
	grep -E 'FAILED|^\| ' "$tap.err" >&2 || true
}

passed=0 failed=0
# count PROGRAM: what became of its tests
count()
{
	local tap=$log/selftest-$1.tap plan good other bad

	plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$tap" | head -n 1)
	good=$(grep '^ok ' "$tap" | grep -vc '# *SKIP' || true)
	other=$(grep -c '^ok .*# *SKIP *not for this parent:' "$tap" || true)
	bad=$((${plan:-0} - good - other))
	# What has no plan, or fails without saying so, is one failure
	if [ -z "$plan" ] || { grep -q FAILED "$tap.err" && [ $bad = 0 ]; }; then
		bad=1
	fi
	if [ $bad != 0 ]; then
		grep -E '^not ok |# *SKIP|^# .*(Expected|==)' "$tap" >&2 || tail -n 20 "$tap" >&2
	fi
	step "$1: $good passed, $bad failed, $other for other parents (see $tap)"
	passed=$((passed + good))
	failed=$((failed + bad))
}

each run "${programs[@]}"
for program in "${programs[@]}"; do
	count "$program"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
