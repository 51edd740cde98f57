#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Build the selftests of the tree and run them in the debug kernel. Ends with
# "N passed, N failed" of the single tests; what is skipped did not pass, but for
# tests of what a parent did before the series, which not all did the same.

. "$(dirname "$0")/lib.sh"

binaries=$build/selftests
programs=$("$top/harness/build-selftests.sh")

passed=0 failed=0
for program in $programs; do
	step "running $program in the debug kernel"
	tap=$log/selftest-$program.tap
	code=0
	"$top/harness/vm.sh" --flavour debug --mlx5 --timeout 1800 \
		-- "$binaries/$program" >"$tap" || code=$?
	plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$tap" | head -n 1)
	good=$(grep '^ok ' "$tap" | grep -vc '# *SKIP' || true)
	other=$(grep -c '^ok .*# *SKIP *not for this parent:' "$tap" || true)
	bad=$((${plan:-0} - good - other))
	# What has no plan, or fails without saying so, is one failure
	if [ -z "$plan" ] || { [ $code != 0 ] && [ $bad = 0 ]; }; then
		bad=1
	fi
	if [ $bad != 0 ]; then
		grep -E '^not ok |# *SKIP|^# .*(Expected|==)' "$tap" >&2 || tail -n 20 "$tap" >&2
	fi
	step "$program: $good passed, $bad failed, $other for other parents (see $tap)"
	passed=$((passed + good))
	failed=$((failed + bad))
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
