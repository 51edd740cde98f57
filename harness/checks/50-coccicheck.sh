#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The kernel's semantic patches, on the sources that the series touches. Two have
# parts in OCaml and would need a compiler for it: one is about batteries, the
# other about pointers that are compared with 0, which sparse sees as well.

. "$(dirname "$0")/check-lib.sh"

need checks
mapfile -t files < <(gt diff --name-only base "$made" -- 'drivers/*.[ch]' 'include/*.h')

# The sources of both, as reading the semantic patches is what takes the time
report()
{
	local commit source=$build/check-cocci here

	with_check_tree
	# What a run before has taken away is gone
	{
		grep -rlE '^(@|initialize|script).*:ocaml|^@.*script: *ocaml' "$check_tree/scripts/coccinelle" || true
	} | xargs -r rm
	rm -rf "$source"
	mkdir -p "$build/check-cocci-obj"
	for commit in base "$made"; do
		mapfile -t here < <(gt ls-tree -r --name-only "$commit" -- "${files[@]}")
		mkdir -p "$source/$commit"
		gt archive "$commit" "${here[@]}" | tar -C "$source/$commit" -xf -
	done
	make -C "$check_tree" O="$build/check-cocci-obj" ARCH=x86_64 \
		coccicheck MODE=report M="$source" J="$jobs" 2>&1
}

coccicheck()
{
	local all=$log/check/cocci

	report >"$all"
	grep "^[^ ]*/check-cocci/base/" "$all" >"$all-base" || true
	grep "^[^ ]*/check-cocci/$made/" "$all" >"$all-made" || true
	tail -n 3 "$all"
	nothing_new "$all-base" "$all-made"
}

# What the result depends on
key()
{
	local commit file

	{
		cat "${BASH_SOURCE[0]}" "$top/harness/checks/check-lib.sh"
		spatch --version
		for commit in base "$made"; do
			for file in scripts "${files[@]}"; do
				echo "$commit:$file"
			done
		done | gt cat-file --batch-check
	} | digest
}

beside_once "$(key)" "coccicheck: nothing new" coccicheck
wait
