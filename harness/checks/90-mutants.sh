#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The tests find the bug that the next person puts in: each patch in
# harness/mutants breaks the series in one way, and must make the test fail that
# it names, or the kernel complain ("Fails: panic PATTERN").

. "$(dirname "$0")/check-lib.sh"
. "$top/harness/modules-lib.sh"

# The git tree of ours with the patch applied
mutant_tree()
(
	GIT_INDEX_FILE=$(mktemp -u)
	export GIT_INDEX_FILE
	trap 'rm -f "$GIT_INDEX_FILE"' EXIT
	gt read-tree "$made"
	gt apply --cached "$1"
	gt write-tree
)

mutant_key()
{
	sed -n "s/^$2: //p" "$1"
}

# killed PATCH: run the tests up to the one that must fail
killed()
{
	local test fails tap=$log/check/mutant-${1##*/}.tap code=0 treeish

	test=$(mutant_key "$1" Test)
	fails=$(mutant_key "$1" Fails)
	treeish=$(mutant_tree "$1")
	build_modules fast "$treeish" "$build/obj-mutant" "$build/mods/mutant"
	"$top/harness/vm.sh" --modules "$build/mods/mutant" --mlx5 --timeout 300 -- \
		"$build/selftests/$test | sed '/ok [0-9]* $fails\$/q'" >"$tap" 2>&1 || code=$?
	cat "$tap"
	case $fails in
	panic*) [ $code = 99 ] && grep -q "${fails#panic }" "$tap" ;;
	*) grep -q "^not ok .* $fails\$" "$tap" ;;
	esac
}

for patch in "$top"/harness/mutants/*.patch; do
	check "mutants: $(mutant_key "$patch" What)" killed "$patch"
done
