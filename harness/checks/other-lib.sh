# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Shared by the checks that make those of another base within those of this one.

. "$(dirname "${BASH_SOURCE[0]}")/check-lib.sh"

# The name of this base: judge() has another one
kernel=$name

# gone BASE: nothing of this base depends on how long an archive keeps another one's
# source. That nothing was checked is said, and not counted. Any other error is one of
# the check.
gone()
{
	local file=$log/check/$1-source

	! env -u BASE_TREE BASE="$1" "$top/harness/source-package.sh" >"$file" 2>&1 &&
		sed -n "/ any more: /s/^FAILED: /# $1: not checked: /p" "$file" | grep .
}

# checks_of BASE WORD...: those that have one of the words in their name, each of which
# counts. If it has guests, ours is their kernel; a tree that is named is of this base.
checks_of()
{
	local base=$1 passed

	shift
	env -u BASE_TREE BASE="$base" KERNEL_BASE="$kernel" "$top/harness/test.sh" "$@"
	passed=$(grep -c pass "$top/build/$base/log/check/tally")
	seq "$passed" | sed 's/.*/pass/' | tee -a "$TALLY" >"$COUNT"
}

# other KEY WHAT WORD...: the checks of the base that KEY of this base names, if it does
other()
{
	local base what=$2

	base=$(base_key "$1")
	shift 2
	[ -z "$base" ] || gone "$base" || check "$base: $what" checks_of "$base" "$@"
}
