#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Take the commits of the tree back into patches/<base>/, and the files that
# they add into this repository.

. "$(dirname "$0")/series-lib.sh"
lock_build

[ -d "$tree" ] || die "there is no tree: make tree first"
[ -z "$(gt status --porcelain)" ] ||
	die "$tree has uncommitted edits: commit them there first"
[ "$(gt rev-parse HEAD)" != "$(gt rev-parse base)" ] ||
	die "$tree is at its base, where no patch is: git checkout vdpa-persist there first"
if [ "$(series_input)" != "$(recorded_input)" ]; then
	if tree_untouched; then
		die "patches/ is newer than the tree: make tree first"
	fi
	die "both patches/ and $tree have changed since make tree:" \
		"set one of them aside, with git stash here" \
		"or git reset --hard refs/vdpa-persist/made there"
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export_series "$(gt rev-parse HEAD)" "$tmp"
all_new_files | sort >"$tmp/before"
(cd "$tmp/files" && find . -type f -printf '%P\n') | sort >"$tmp/after"

# place FROM TO: without touching what is the same already
place()
{
	if ! cmp -s "$1" "$2"; then
		mkdir -p "$(dirname "$2")"
		cp -p "$1" "$2"
		step "${2#"$top"/}"
	elif [ "$(stat -c %a "$1")" != "$(stat -c %a "$2")" ]; then
		cp -p "$1" "$2"
	fi
}

series_topics | while read -r topic; do
	(cd "$patches" && find "$topic" -name '*.patch' -o -name series -o -name cover-letter) | while read -r file; do
		[ -e "$tmp/patches/$file" ] || { rm "$patches/$file"; step "patches/$base/$file is gone"; }
	done
	rmdir --ignore-fail-on-non-empty "$patches/$topic"
done
(cd "$tmp/patches" && find . -type f -printf '%P\n' | sort) | while read -r file; do
	place "$tmp/patches/$file" "$patches/$file"
done
while read -r file; do
	place "$tmp/files/$file" "$top/$file"
done <"$tmp/after"
comm -23 "$tmp/before" "$tmp/after" | while read -r file; do
	# Another base may have it too
	if ! grep -qrFx "New-file: $file" "$top"/patches/*/; then
		rm "$top/$file"
		step "$file is gone"
	fi
done

# What was written has to give the same tree again
made=$(commit_series)
gt diff --quiet "$made" HEAD || die "the series does not give the tree that it was made from"
gt checkout -q -B vdpa-persist "$made"
record "$made" "$(series_input)"
step "series: $(series_patches | wc -l) patches in $(series_topics | wc -l) topics in patches/$base"
