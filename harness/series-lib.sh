# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2030,SC2031
# The series in its two forms: patches/<base>/ with the in-tree files of this
# repository beside it, and commits in the git tree.
#
# A series is made of topics. Each is a folder in patches/<base>/ with a cover
# letter and patches of its own. In the tree a topic begins with an empty commit:
# its message is the cover letter, and ends with the trailer "Topic: NAME".

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

gt()
{
	git -C "$tree" "$@"
}

# commit_env NAME EMAIL DATE COMMAND...: as author and as committer, so that
# the same input gives the same commit on every machine
commit_env()
{
	local who=$1 email=$2 date=$3

	shift 3
	GIT_AUTHOR_NAME=$who GIT_AUTHOR_EMAIL=$email GIT_AUTHOR_DATE=$date \
	GIT_COMMITTER_NAME=$who GIT_COMMITTER_EMAIL=$email GIT_COMMITTER_DATE=$date \
		"$@"
}

series_topics()
{
	list "$patches/series"
}

# topic_patches TOPIC: its patches in their order, as TOPIC/FILE
topic_patches()
{
	list "$patches/$1/series" | sed "s,^,$1/,"
}

# All patches in their order
series_patches()
{
	local topic

	series_topics | while read -r topic; do
		topic_patches "$topic"
	done
}

# new_files PATCH: the in-tree files that the commit of this patch adds
new_files()
{
	sed -n '/^---$/,/^diff --git /s/^New-file: //p' "$patches/$1"
}

all_new_files()
{
	local patch

	series_patches | while read -r patch; do
		new_files "$patch"
	done
}

# A digest of everything that the branch is made from
series_input()
{
	{
		gt rev-parse base
		series_topics
		series_patches
		(cd "$patches" && series_topics | sed 's,$,/cover-letter,' | xargs -r sha256sum)
		(cd "$patches" && series_patches | xargs -r sha256sum)
		(cd "$top" && all_new_files | xargs -r -d '\n' stat -c '%a' --)
		(cd "$top" && all_new_files | xargs -r -d '\n' sha256sum --)
	} | sha256sum | cut -d' ' -f1
}

recorded_input()
{
	cat "$tree/.git/vdpa-persist-input" 2>/dev/null || true
}

# Who commits what is nobody's: the base, and the beginning of a topic
import_identity=(vdpa-persist vdpa-persist@localhost 2023-01-01T00:00:00Z)

# about COMMIT: which one a message is about
about()
{
	gt log -1 --format='%h (%s)' "$1"
}

# record COMMIT INPUT
record()
{
	gt update-ref refs/vdpa-persist/made "$1"
	echo "$2" >"$tree/.git/vdpa-persist-input"
}

# Is the tree what "make tree" left?
tree_untouched()
{
	[ "$(gt rev-parse HEAD)" = "$(gt rev-parse refs/vdpa-persist/made)" ] &&
		[ -z "$(gt status --porcelain)" ]
}

# topic_name COMMIT: if a topic begins with it, which
topic_name()
{
	gt log -1 --format='%(trailers:key=Topic,valueonly,separator=%x20)' "$1"
}

# cover_letter COMMIT: the one that is the message of a topic's first commit
cover_letter()
{
	gt log -1 --format=%B "$1" | sed '1s/^/Subject: /; /^Topic: /d' | git stripspace
}

# commit_topic PARENT TOPIC: the commit with which it begins
commit_topic()
{
	local cover=$patches/$2/cover-letter

	[ -e "$cover" ] || die "patches/$base/$2 has no cover-letter"
	{
		sed '1s/^Subject: *//' "$cover"
		printf '\nTopic: %s\n' "$2"
	} | git stripspace | commit_env "${import_identity[@]}" \
		git -C "$tree" commit-tree -p "$1" "$1^{tree}"
}

# commit_patch PARENT PATCH: the commit that the patch, applied to the index, and
# the files that it adds make
commit_patch()
{
	local file mode author email date

	git mailinfo "$tmp/msg" "$tmp/diff" <"$patches/$2" >"$tmp/info"
	if grep -q '^diff --git ' "$tmp/diff" &&
	   ! gt apply --cached --whitespace=nowarn "$tmp/diff"; then
		die "patches/$base/$2 does not apply"
	fi
	new_files "$2" >"$tmp/files"
	while read -r file; do
		[ -f "$top/$file" ] || die "$2 adds $file, which is not here"
		mode=100644
		[ ! -x "$top/$file" ] || mode=100755
		gt update-index --add --cacheinfo \
			"$mode,$(gt hash-object -w "$top/$file"),$file"
	done <"$tmp/files"
	author=$(sed -n 's/^Author: //p' "$tmp/info")
	email=$(sed -n 's/^Email: //p' "$tmp/info")
	date=$(sed -n 's/^Date: //p' "$tmp/info")
	{
		sed -n 's/^Subject: //p' "$tmp/info"
		echo
		cat "$tmp/msg"
	} | git stripspace | commit_env "$author" "$email" "$date" \
		git -C "$tree" commit-tree -p "$1" "$(gt write-tree)"
}

# patch_key PARENT PATCH: a digest of all that the patch's commit follows from
patch_key()
{
	{
		cat "${BASH_SOURCE[0]}" "$patches/$2"
		echo "$1"
		(cd "$top" && new_files "$2" | xargs -r -d '\n' \
			sh -c 'stat -c %a -- "$@" && sha256sum -- "$@"' sh)
	} | sha256sum | cut -d' ' -f1
}

# Commit the series on top of base, without a work tree; print the last commit. With
# the 80,000 files of a kernel in the index, a patch takes a quarter of a second: commits
# that were made before are taken as they are.
commit_series()
(
	local commit topic patch known index=''

	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	export GIT_INDEX_FILE=$tmp/index
	mkdir -p "$build/commits"
	find "$build/commits" -type f -mtime +30 -delete
	commit=$(gt rev-parse base)
	for topic in $(series_topics); do
		commit=$(commit_topic "$commit" "$topic") || exit 1
		for patch in $(topic_patches "$topic"); do
			known=$build/commits/$(patch_key "$commit" "$patch")
			if gt cat-file -e "$(cat "$known" 2>/dev/null)^{commit}" 2>/dev/null; then
				touch "$known"
				commit=$(cat "$known")
				index=''
				continue
			fi
			[ "$index" ] || gt read-tree "$commit"
			index=made
			commit=$(commit_patch "$commit" "$patch") || exit 1
			echo "$commit" >"$known"
		done
	done
	echo "$commit"
)

# git as it comes: what a person has configured must not show in the patches
plain_git()
{
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_CONFIG_NOSYSTEM=1 \
		git -C "$tree" "$@"
}

format_patch()
{
	plain_git format-patch --quiet --zero-commit --no-signature --abbrev=12 "$@"
}

# strip_commit COMMIT PARENT: the same commit on PARENT without the files in $tmp/new, so
# that git formats it as the rest of its patch
strip_commit()
{
	local contents="$1^{tree}"

	if [ -s "$tmp/new" ]; then
		gt read-tree "$1"
		gt update-index --force-remove --stdin <"$tmp/new"
		contents=$(gt write-tree)
	fi
	gt log -1 --format=%B "$1" |
		commit_env "$(gt log -1 --format=%an "$1")" "$(gt log -1 --format=%ae "$1")" \
			"$(gt log -1 --format=%aD "$1")" \
			git -C "$tree" commit-tree -p "$2" "$contents"
}

# added_files COMMIT: those that base does not have, unless the base leaves its new files
# in the patches
added_files()
{
	local file

	[ "$(base_key new_files)" != patches ] || return 0
	gt diff-tree -r --no-commit-id --no-renames --name-only --diff-filter=A "$1" |
		sort | while read -r file; do
			gt cat-file -e "base:$file" 2>/dev/null || echo "$file"
		done
}

# no_file_twice COMMIT: does it leave alone what a commit before it adds?
no_file_twice()
{
	gt diff-tree -r --no-commit-id --no-renames --name-only --diff-filter=a "$1" |
		sort >"$tmp/changed"
	if grep -Fx -m 1 -f "$tmp/new" "$tmp/changed" >"$tmp/twice"; then
		die "$(about "$1") changes" \
			"$(cat "$tmp/twice"), which a commit before it adds:" \
			"a new file comes complete, by one commit"
	fi
}

# export_patch COMMIT PARENT DIR N: as the N-th patch in DIR; sets stripped
export_patch()
{
	local file

	no_file_twice "$1"
	added_files "$1" >"$tmp/added"
	cat "$tmp/added" >>"$tmp/new"
	stripped=$(strip_commit "$1" "$2")
	file=$(plain_git format-patch --zero-commit --no-signature --abbrev=12 \
		--always --no-numbered --start-number "$4" -o "$3" "$2..$stripped")
	echo "${file##*/}" >>"$3/series"
	[ -s "$tmp/added" ] || return 0
	# A patch without a diff has no "---" of its own
	grep -qx -- --- "$file" || echo --- >>"$file"
	sed 's/^/New-file: /' "$tmp/added" >"$tmp/lines"
	awk -v lines="$tmp/lines" '
		{ print }
		/^---$/ && !done { while ((getline line < lines) > 0) print line; done = 1 }
	' "$file" >"$tmp/patch"
	mv "$tmp/patch" "$file"
}

# begin_topic COMMIT TOPIC DIR
begin_topic()
{
	[[ $2 =~ ^[a-z0-9][a-z0-9-]*$ ]] ||
		die "$(about "$1"): '$2' is no name for a topic"
	[ ! -e "$3/$2" ] || die "there are two topics that are called $2"
	mkdir "$3/$2"
	cover_letter "$1" >"$3/$2/cover-letter"
	: >"$3/$2/series"
	echo "$2" >>"$3/series"
}

# export_series COMMIT DIR: what belongs into patches/<base>/ as DIR/patches,
# and the new files as DIR/files
export_series()
(
	local commit stripped topic='' named n=0 tip=$1 dir=$2 file

	if [ -n "$(gt rev-list --min-parents=2 "base..$tip")" ]; then
		die "there is a merge between base and ${tip:0:12}: a series is a line of commits"
	fi
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	mkdir -p "$dir/patches" "$dir/files"
	: >"$tmp/new"
	: >"$dir/patches/series"
	stripped=$(gt rev-parse base)
	export GIT_INDEX_FILE=$tmp/index
	for commit in $(gt rev-list --reverse "base..$tip"); do
		named=$(topic_name "$commit")
		if ! gt diff --quiet "$commit^" "$commit"; then
			[ -z "$named" ] || die "$(about "$commit") changes files:" \
				"the commit with which a topic begins is empty"
			[ -n "$topic" ] || die "$(about "$commit") comes before any topic:" \
				"a topic begins with an empty commit," \
				"the message of which ends with 'Topic: NAME'"
			n=$((n + 1))
			export_patch "$commit" "$stripped" "$dir/patches/$topic" $n
		else
			[ -n "$named" ] || die "$(about "$commit") is empty, and names no topic"
			begin_topic "$commit" "$named" "$dir/patches"
			topic=$named n=0
		fi
	done

	while read -r file; do
		mkdir -p "$dir/files/$(dirname "$file")"
		gt cat-file blob "$tip:$file" >"$dir/files/$file"
		case $(gt ls-tree "$tip" -- "$file") in
		100755*) chmod +x "$dir/files/$file" ;;
		esac
	done <"$tmp/new"
)
