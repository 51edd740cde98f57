#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Make the git tree of a base with the series applied.
#
# The tag "base" is the kernel as it comes; the branch "vdpa-persist" has the
# series on top of it. The series is committed without a work tree, so that the
# checkout that follows touches the files that really differ, and no others: a
# kernel build stays incremental.
#
# In the tree's git directory, "vdpa-persist/made" is the commit that this
# script made last, and the file "vdpa-persist-input" says from what. Commits
# and edits on top of that are a person's, and are never thrown away.

. "$(dirname "$0")/series-lib.sh"
lock_build

import_debian()
{
	local tarball version new=$build/tree.new

	rm -rf "$new"
	# A package with a tarball in it, or a source package
	if [ -z "$(base_key tarball)" ]; then
		version=$(base_key version)
		"$top/harness/source-package.sh" "$new"
	else
		tarball=$("$top/harness/fetch.sh")
		version=$(cat "$build/source/version")
		mkdir -p "$new"
		step "unpacking $(base_key package) $version"
		tar -C "$new" --strip-components=1 -xf "$tarball" ||
			die "cannot unpack $tarball"
	fi
	step "importing it into git (once, about a minute)"
	git -C "$new" init -q -b vdpa-persist
	# Most of the time would go into compressing objects
	git -C "$new" config core.looseCompression 0
	git -C "$new" config gc.auto 0
	git -C "$new" config core.autocrlf false
	git -C "$new" add -f -A
	commit_env "${import_identity[@]}" \
		git -C "$new" commit -q --no-verify --no-gpg-sign \
		-m "Import $(base_key package) $version"
	git -C "$new" tag base
	base_key version >"$new/.git/vdpa-persist-version"
	mv "$new" "$tree"
}

clone_own()
{
	local new=$build/tree.new

	rm -rf "$new"
	mkdir -p "$build"
	step "cloning $BASE_TREE"
	logged clone git clone --local --no-tags --single-branch "$BASE_TREE" "$new"
	git -C "$new" tag -f base HEAD >/dev/null
	git -C "$new" checkout -q -B vdpa-persist
	mv "$new" "$tree"
}

need tree

if [ ! -d "$tree" ]; then
	if [ -n "${BASE_TREE:-}" ]; then
		clone_own
	else
		import_debian
	fi
	gt update-ref refs/vdpa-persist/made base
	if git -C "$top" config user.email >/dev/null; then
		gt config user.name "$(git -C "$top" config user.name)"
		gt config user.email "$(git -C "$top" config user.email)"
	fi
elif [ -n "${BASE_TREE:-}" ]; then
	head=$(git -C "$BASE_TREE" rev-parse HEAD)
	if [ "$head" != "$(gt rev-parse base)" ]; then
		step "$BASE_TREE has moved to ${head:0:12}"
		logged clone gt fetch --no-tags "$BASE_TREE" HEAD
		gt tag -f base "$head" >/dev/null
	fi
fi

if [ -z "${BASE_TREE:-}" ] && [ -e "$tree/.git/vdpa-persist-version" ] &&
   [ "$(base_key version)" != "$(cat "$tree/.git/vdpa-persist-version")" ]; then
	die "$tree is of another version than patches/$base/base: make clean, or BASE_TREE"
fi

# Whoever was interrupted here did not lose anybody's work
if next=$(gt rev-parse -q --verify refs/vdpa-persist/next); then
	step "finishing an interrupted checkout"
	rm -f "$tree/.git/index.lock"
	logged checkout gt checkout -q -f -B vdpa-persist "$next"
	record "$next" unknown
	gt update-ref -d refs/vdpa-persist/next
fi

input=$(series_input)
if [ "$input" = "$(recorded_input)" ]; then
	exit 0
fi
tree_untouched ||
	die "$tree has work that is not in patches/: make refresh first"

step "applying $(series_patches | wc -l) patches in $(series_topics | wc -l) topics to $name"
made=$(commit_series)
gt update-ref refs/vdpa-persist/next "$made"
logged checkout gt checkout -q -B vdpa-persist "$made"
record "$made" "$input"
gt update-ref -d refs/vdpa-persist/next
step "tree: $(series_patches | wc -l) patches on top of base, in ${tree#"$top"/}"
