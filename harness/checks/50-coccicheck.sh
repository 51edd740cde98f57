#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The kernel's semantic patches, on the sources that the series touches. Two have
# parts in OCaml and would need a compiler for it: one is about batteries, the
# other about pointers that are compared with 0, which sparse sees as well.

. "$(dirname "$0")/check-lib.sh"

need spatch:coccinelle
base_commit=$(gt rev-parse base)

report_at()
{
	local file source=$build/check-cocci

	check_checkout "$1"
	grep -rlE '^(@|initialize|script).*:ocaml|^@.*script: *ocaml' "$check_tree/scripts/coccinelle" | xargs -r rm
	rm -rf "$source"
	mkdir -p "$source"
	for file in $(gt diff --name-only base "$made" -- 'drivers/*.[ch]' 'include/*.h'); do
		[ ! -e "$check_tree/$file" ] ||
			(cd "$check_tree" && cp --parents "$file" "$source")
	done
	check_make coccicheck MODE=report M="$source" J="$jobs" >"$log/check/cocci-$1" 2>&1
}

coccicheck()
{
	report_at "$base_commit"
	report_at "$made"
	nothing_new "$log/check/cocci-$base_commit" "$log/check/cocci-$made"
}

check "coccicheck: nothing new" coccicheck
