#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The series as it is kept, and as it is sent

. "$(dirname "$0")/check-lib.sh"
. "$top/harness/mutants-lib.sh"

# git am and b4 want to know who they work for
export GIT_CONFIG_COUNT=2
export GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=check
export GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=check@localhost

untouched()
{
	tree_untouched || { gt status --short; gt log --oneline "$made..HEAD"; return 1; }
}

round_trip()
{
	local file

	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	export_series "$made" "$tmp"
	(cd "$tmp/patches" && find . -type f) | while read -r file; do
		cmp "$tmp/patches/$file" "$patches/$file"
	done
	(cd "$patches" && find . -name '*.patch' -o -name cover-letter) | while read -r file; do
		[ -e "$tmp/patches/$file" ] || { echo "$file is not in series"; exit 1; }
	done
	(cd "$tmp/files" && find . -type f) | while read -r file; do
		cmp "$tmp/files/$file" "$top/$file"
	done
}

am_tree=$build/check-am

# A work tree of the base, with those files only that the series is about
checkout_base()
{
	if [ ! -e "$am_tree/.git" ]; then
		rm -rf "$am_tree"
		gt worktree prune
		gt worktree add -q --detach --no-checkout "$am_tree" base
	fi
	gt diff --no-renames --name-only base "$made" | sed 's,^,/,' |
		git -C "$am_tree" sparse-checkout set --no-cone --stdin
	git -C "$am_tree" reset -q --hard base
}

# am MBOX...: git am of all topics in their order, on the base as it comes, gives
# our tree
am()
{
	checkout_base
	[ $# = 0 ] || git -C "$am_tree" am -q "$@" || { git -C "$am_tree" am --abort; return 1; }
	git -C "$am_tree" diff --stat --exit-code HEAD "$made"
}

b4_am()
{
	local mbox

	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	cd "$am_tree"
	for mbox; do
		mkdir "$tmp/${mbox##*/}"
		b4 --offline-mode -n am -m "$mbox" -o "$tmp/${mbox##*/}"
	done
	am "$tmp"/*/*.mbx
}

# Each mutant fits the sources of the series
mutants_fit()
{
	local mutant bad=''

	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	mkdir "$tmp/sources"
	{
		all_mutants | xargs -r sed -n 's/^File: //p'
		gt diff --name-only --diff-filter=d base "$made"
	} | sort -u | xargs git -C "$tree" archive "$made" | tar -C "$tmp/sources" -xf -
	for mutant in $(all_mutants); do
		cp -r "$tmp/sources" "$tmp/mutant"
		(write_mutant "$mutant" "$tmp/mutant") || bad=y
		rm -rf "$tmp/mutant"
	done
	[ ! "$bad" ]
}

check "series: the tree has nothing that patches/ lack" untouched
check "series: round trip is byte-identical" round_trip
mboxes=()
for topic in "$out"/series/*.mbox; do
	[ ! -e "$topic" ] || mboxes+=("$topic")
done
check "series: git am of its topics on the base gives the same tree" am "${mboxes[@]}"
if [ ${#mboxes[@]} != 0 ]; then
	need checks
	check "series: b4 am accepts each topic, and gives the same tree" b4_am "${mboxes[@]}"
fi
check "series: each mutant fits it" mutants_fit
