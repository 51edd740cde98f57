#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Which planted bugs does the fuzzer's corpus find? For fuzz.sh, in its kernel.
#
# MUTANTS   their names, or "listed": those of this base, or else of the fuzzer
# MINUTES   how long to fuzz for those that the corpus does not find (0)

. "$(dirname "$0")/fuzz-lib.sh"
. "$top/harness/mutants-lib.sh"

source=$build/mutant-$flavour-fuzz
names=()
if [ "$MUTANTS" = listed ]; then
	listed=$patches/fuzz-mutants
	[ -e "$listed" ] || listed=$fuzz/mutants
	mapfile -t names < <(list "$listed")
else
	read -ra names <<<"$MUTANTS"
fi
build_fuzz replay
[ ! "${MINUTES:-}" ] || build_fuzz fuzz

# said FILE: what ended a replay or a run, in one line; false if it was neither the program
# nor the kernel's complaint about the bug
said()
{
	grep -aoE '^WRONG .*|the kernel complained: .*' "$1" |
		grep -vE -m 1 'complained: (INFO: task|.*stall)'
}

# replay_corpus PARENT OUTPUT: in the modules with the bug, once more if the guest stood still:
# a host that is busy does that to it, too
replay_corpus()
{
	local code

	for _ in 1 2; do
		code=0
		replay_inputs "--flavour $flavour --modules $source-mods --timeout 300" "$1" \
			"$corpus"/* >"$2" 2>&1 || code=$?
		if [ $code = 0 ] || said "$2" >/dev/null; then
			break
		fi
	done
	return $code
}

# find_bug MUTANT: one line for it; false if it is not found
find_bug()
{
	local parent mutant begin=$SECONDS output=$log/fuzz-mutant-$1.log

	mutant=$( (all_mutants; find "$fuzz/bugs" -name '*.mutant') | grep "/$1.mutant\$") ||
		die "there is no mutant $1"
	build_mutant "$flavour" "$mutant" "$source" >/dev/null || die "$mutant cannot be built"
	for parent in "${parents[@]}"; do
		begin=$SECONDS
		replay_corpus "$parent" "$output" && continue
		said "$output" >/dev/null || die "a replay with $1 ended for no reason of its own" \
			"(see $output)"
		printf '%s: %s s, %s: %s\n' "$1" $((SECONDS - begin)) \
			"$(grep -a '^# ' "$output" | tail -n 1 | sed 's,.*/,,')" "$(said "$output")"
		return
	done
	[ "${MINUTES:-}" ] && fuzz_for_it "$1" && return
	echo "$1: NOT FOUND"
	return 1
}

# fuzz_for_it MUTANT: longer than the corpus takes
fuzz_for_it()
{
	local parent begin=$SECONDS output=$log/fuzz-mutant-$1.log

	for parent in "${parents[@]}"; do
		run_fuzz "$parent" $((MINUTES * 60)) "$build/fuzz/mutant" \
			--modules "$source-mods" >"$output" 2>&1 && continue
		said "$output" >/dev/null || die "fuzzing $1 ended for no reason of its own" \
			"(see $output)"
		printf '%s: %s s, fuzzing: %s\n' "$1" $((SECONDS - begin)) "$(said "$output")"
		return
	done
	return 1
}

number=0
for name in "${names[@]}"; do
	if find_bug "$name"; then
		number=$((number + 1))
	fi
done
echo "$number of ${#names[@]} found"
[ $number = ${#names[@]} ]
