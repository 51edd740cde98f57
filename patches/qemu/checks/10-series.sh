#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The series as a kernel's is checked, and by QEMU's own checkpatch.pl

. "$(dirname "$0")/../../../harness/checks/check-lib.sh"

# A new file's maintainers are those of its folder. A topic begins with an empty commit.
clean_style()
{
	local commit

	for commit in $(gt rev-list --reverse "base..$made"); do
		[ -z "$(topic_name "$commit")" ] || continue
		gt show "$commit" >"$log/check/commit.patch"
		"$tree/scripts/checkpatch.pl" --no-tree --no-signoff --quiet \
			"$log/check/commit.patch" >"$log/check/style" 2>&1 || true
		! grep -A 4 -E '^(ERROR|WARNING): ' "$log/check/style" |
			grep -vE 'added, moved or deleted|MAINTAINERS|^  [^ ]*$|^--$|^$' ||
			{ gt log -1 --format='%h (%s)' "$commit"; return 1; }
	done
}

# Until the end: see 20-commits.sh
exec 5>"$build/tree.lock"
flock 5
check "qemu: checkpatch.pl has nothing to say" clean_style
exec "$top/harness/checks/20-series.sh"
