#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The demo of a base that has the feature already: what it does wrong, shown by
# tests that fail on it. patches/<base>/demo has "PROGRAM TEST what is wrong".

. "$(dirname "$0")/lib.sh"
lock_build

need vm selftests
"$top/harness/build-selftests.sh" >/dev/null
mkdir -p "$out"
list "$patches/demo" >"$out/demo.list"

# run_demo NAME [OPTION]: each of the tests with the modules of one side
run_demo()
{
	step "running $(wc -l <"$out/demo.list") tests on the modules: $1"
	"$top/harness/vm.sh" --mlx5 ${2:+"$2"} --timeout 600 -- \
		"$top/harness/demo-tests-guest.sh" "$build/selftests" "$out/demo.list" \
		>"$out/demo.$1" || die "the demo, $1 (see $out/demo.$1)"
}

run_demo unpatched --unpatched
run_demo ours

# happens SIDE PROGRAM TEST: a test that fails has seen it
happens()
{
	case $(sed -n "s/^$2 $3 //p" "$out/demo.$1") in
	fail) echo yes ;;
	pass) echo no ;;
	*) die "$2 $3 has neither passed nor failed (see $out/demo.$1)" ;;
	esac
}

{
	printf '\n  %-62s %9s  %5s\n' \
		"$(base_key package) $(cat "$build/source/version" 2>/dev/null)" unpatched ours
	while read -r program test text; do
		printf '  %-62s %9s  %5s\n' "$text" \
			"$(happens unpatched "$program" "$test")" \
			"$(happens ours "$program" "$test")"
	done <"$out/demo.list"
} | tee "$out/demo.txt"
