#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The kernel's semantic patches, on the sources that the series touches. Two have
# parts in OCaml and would need a compiler for it: one is about batteries, the
# other about pointers that are compared with 0, which sparse sees as well. A header of
# 12,000 lines has layouts of bits and no code.

. "$(dirname "$0")/check-lib.sh"

need checks
mapfile -t files < <(gt diff --name-only base "$made" -- 'drivers/*.[ch]' 'include/*.h' \
	':!include/linux/mlx5/mlx5_ifc.h')

# report COMMIT: what they say of its sources
report()
{
	local here source=$build/check-cocci

	with_check_tree
	# What a run before has taken away is gone
	{
		grep -rlE '^(@|initialize|script).*:ocaml|^@.*script: *ocaml' "$check_tree/scripts/coccinelle" || true
	} | xargs -r rm
	rm -rf "$source"
	mkdir -p "$source" "$build/check-cocci-obj"
	mapfile -t here < <(gt ls-tree -r --name-only "$1" -- "${files[@]}")
	gt archive "$1" "${here[@]}" | tar -C "$source" -xf -
	# Something that they have to say
	echo 'static void f(void *p) { if (p) kfree(p); }' >"$source/control.c"
	make -C "$check_tree" O="$build/check-cocci-obj" ARCH=x86_64 \
		coccicheck MODE=report M="$source" J="$jobs" 2>&1
}

# Where nothing is said of the series, the base need not be read
coccicheck()
{
	local all=$log/check/cocci

	report "$made" >"$all"
	grep '/check-cocci/control.c:' "$all"
	grep '/check-cocci/' "$all" | grep -v '/control.c:' >"$all-made" || true
	if [ -s "$all-made" ]; then
		report base >"$all-base"
		nothing_new "$all-base" "$all-made"
	fi
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
