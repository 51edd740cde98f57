#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Each patch as it is sent, read by the tree's own checkpatch.pl, but for:
# - new files without an entry in MAINTAINERS: a later patch of the series has it;
# - commits that are fixed: the tree has no history in which to look them up;
# - macros of selftests that return from the caller: ASSERT_EQ() and SKIP() of
#   kselftest_harness.h do, and so do macros that use them;
# - EXPECT_EQ() with a block, which looks like one statement and is two.

. "$(dirname "$0")/check-lib.sh"

need checks

# In a tree, where it leaves a file
checkpatch()
{
	with_check_tree
	cd "$check_tree"
	# The python3 that has Debian's packages
	PATH=/usr/bin:$PATH scripts/checkpatch.pl --strict --no-summary --show-types \
		--ignore "$1" "$2"
}

# key PATCH IGNORE: the patch without its place in the series
key()
{
	{
		cat "${BASH_SOURCE[0]}" "$top/harness/checks/check-lib.sh"
		gt rev-parse base:scripts
		echo "$2"
		sed -E '/^(Message-Id|In-Reply-To|References): /d; s/^Subject: \[[^]]*\]//' "$1"
	} | digest
}

for patch in "$out"/series/*/*.patch; do
	case ${patch##*/} in
	'*.patch' | 0000-*) continue ;;
	esac
	ignore=FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID
	case ${patch##*/} in
	*-selftests-vdpa-*) ignore+=,MACRO_WITH_FLOW_CONTROL,SINGLE_STATEMENT_DO_WHILE_MACRO ;;
	esac
	beside_once "$(key "$patch" $ignore)" "checkpatch: ${patch#"$out"/series/}" \
		checkpatch $ignore "$patch"
done
wait
