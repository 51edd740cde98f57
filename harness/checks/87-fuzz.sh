#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# What the fuzzer has kept, each input once more in the debug kernel: the model must
# agree with all that the kernel does, which must say nothing.

. "$(dirname "$0")/check-lib.sh"
. "$top/harness/fuzz-lib.sh"
. "$top/harness/mutants-lib.sh"

[ "$(base_key fuzz)" = yes ] || exit 0
build_fuzz replay
# Of what the result depends on, besides what it does of each check
leak=$top/harness/mutants/unmap-leaks-a-pin.mutant
contents=$( (find "$fuzz" "$patches/expected-fuzz" -type f | sort; echo "$leak") | xargs cat | sha256sum)
contents=$(sha256sum <<<"$contents $facts" | cut -c1-16)

# passes PARENT CONTENTS: all that was to fail has failed, and all that was to be probed was
passes()
{
	local output=$log/check/fuzz-corpus-$1 said

	replay_inputs "--flavour debug --timeout 900" "$1" "$corpus"/* >"$output" 2>&1 || {
		cat "$output"
		return 1
	}
	said=$(tr -d '\r' <"$output" | sed -n 's/^ok: //p')
	echo "$1: $said"
	grep -qxF "$1: $said" "$patches/expected-fuzz" || {
		grep "^$1: " "$patches/expected-fuzz" | sed 's/$/ (expected)/'
		return 1
	}
}

for parent in "${parents[@]}"; do
	once "fuzz: the corpus, on a parent with .$parent, in the debug kernel" \
		passes "$parent" "$contents"
done

# sees MUTANT PARENT INPUT: the program says that something is wrong with this bug
sees()
{
	local source=$build/mutant-debug-$place output=$log/check/fuzz-$2

	build_mutant debug "$1" "$source"
	! replay_inputs "--flavour debug --no-kmemleak --modules $source-mods --timeout 300" "$2" "$3" \
		>"$output" 2>&1 || return 1
	grep -a '^WRONG ' "$output"
}

for parent in "${parents[@]}"; do
	once "fuzz: a pin that leaks is seen, on a parent with .$parent" \
		sees "$leak" "$parent" "$corpus/bad-address-in-a-batch" "$contents"
done
wait
