#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The kernel's semantic patches, on the sources that the series touches. Two have
# parts in OCaml and would need a compiler for it: one is about batteries, the
# other about pointers that are compared with 0, which sparse sees as well.

. "$(dirname "$0")/check-lib.sh"

need checks
mapfile -t files < <(gt diff --name-only base "$made" -- 'drivers/*.[ch]' 'include/*.h')

report_at()
{
	local here source=$build/check-cocci

	with_check_tree
	# Those of the first report are gone in the second
	{
		grep -rlE '^(@|initialize|script).*:ocaml|^@.*script: *ocaml' "$check_tree/scripts/coccinelle" || true
	} | xargs -r rm
	rm -rf "$source"
	mkdir -p "$source"
	mapfile -t here < <(gt ls-tree -r --name-only "$1" -- "${files[@]}")
	gt archive "$1" "${here[@]}" | tar -C "$source" -xf -
	make -C "$check_tree" O="$build/check-cocci-obj" ARCH=x86_64 \
		coccicheck MODE=report M="$source" J="$jobs" 2>&1
}

# The base's report is the same as long as the files are
coccicheck()
{
	local base_log=$build/cocci-$1

	[ -e "$base_log" ] || {
		report_at base >"$base_log.new"
		mv "$base_log.new" "$base_log"
	}
	report_at "$made" >"$log/check/cocci"
	nothing_new "$base_log" "$log/check/cocci"
}

# key COMMIT
key()
{
	local file

	{
		cat "${BASH_SOURCE[0]}"
		spatch --version
		for file in scripts "${files[@]}"; do
			echo "$1:$file"
		done | gt cat-file --batch-check
	} | digest
}

beside_once "$(key "$made")" "coccicheck: nothing new" coccicheck "$(key base)"
wait
