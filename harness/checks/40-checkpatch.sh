#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Each patch as it is sent, read by the tree's own checkpatch.pl. What it says
# about a new file without an entry in MAINTAINERS does not apply to one patch
# of a series that has the entries in a patch of its own. A selftest is left by
# macros (ASSERT_EQ() and SKIP() of kselftest_harness.h are no others), so that
# those built on them are, too.

. "$(dirname "$0")/check-lib.sh"

# The last two are what it has scripts/spdxcheck.py for
need perl:perl python3:python3 /usr/lib/python3/dist-packages/ply:python3-ply \
	/usr/lib/python3/dist-packages/git:python3-git
"$top/harness/series.sh"
check_checkout "$made"

# In the work tree, where it leaves a file
checkpatch()
{
	cd "$check_tree"
	# The python3 that has Debian's packages
	PATH=/usr/bin:$PATH scripts/checkpatch.pl --strict --no-summary --show-types \
		--ignore "$1" "$2"
}

for patch in "$out"/series/*/*.patch; do
	case ${patch##*/} in
	'*.patch' | 0000-*) continue ;;
	esac
	ignore=FILE_PATH_CHANGES
	case ${patch##*/} in
	*-selftests-vdpa-*) ignore+=,MACRO_WITH_FLOW_CONTROL ;;
	esac
	check "checkpatch: ${patch#"$out"/series/}" checkpatch $ignore "$patch"
done
