#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The kernel's semantic patches, on the directories that the series touches

. "$(dirname "$0")/check-lib.sh"

need spatch:coccinelle
base_commit=$(gt rev-parse base)

report_at()
{
	local dir

	check_checkout "$1"
	for dir in $check_dirs; do
		check_make coccicheck MODE=report M="$check_tree/$dir" J="$jobs"
	done >"$log/check/cocci-$1" 2>&1
}

coccicheck()
{
	report_at "$base_commit"
	report_at "$made"
	nothing_new "$log/check/cocci-$base_commit" "$log/check/cocci-$made"
}

check "coccicheck: nothing new" coccicheck
