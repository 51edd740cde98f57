# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2030,SC2031
# The series in its two forms: patches/<base>/ with the in-tree files of this
# repository beside it, and commits in the git tree.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

gt()
{
	git -C "$tree" "$@"
}

# commit_env NAME EMAIL DATE COMMAND...: as author and as committer, so that
# the same input gives the same commit on every machine
commit_env()
{
	local name=$1 email=$2 date=$3

	shift 3
	GIT_AUTHOR_NAME=$name GIT_AUTHOR_EMAIL=$email GIT_AUTHOR_DATE=$date \
	GIT_COMMITTER_NAME=$name GIT_COMMITTER_EMAIL=$email GIT_COMMITTER_DATE=$date \
		"$@"
}

# Names of the patches in patches/<base>/ in their order
series_patches()
{
	[ ! -e "$patches/series" ] || sed 's/#.*//; s/[[:space:]]*$//; /^$/d' "$patches/series"
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
		series_patches
		(cd "$patches" && series_patches | xargs -r sha256sum)
		(cd "$top" && all_new_files | xargs -r -d '\n' stat -c '%a' --)
		(cd "$top" && all_new_files | xargs -r -d '\n' sha256sum --)
	} | sha256sum | cut -d' ' -f1
}

recorded_input()
{
	cat "$tree/.git/vdpa-persist-input" 2>/dev/null || true
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

# Commit the series on top of base, without a work tree; print the last commit
commit_series()
(
	local commit patch file mode author email date

	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	export GIT_INDEX_FILE=$tmp/index
	commit=$(gt rev-parse base)
	gt read-tree "$commit"
	while read -r patch; do
		git mailinfo "$tmp/msg" "$tmp/diff" <"$patches/$patch" >"$tmp/info"
		if grep -q '^diff --git ' "$tmp/diff" &&
		   ! gt apply --cached --whitespace=nowarn "$tmp/diff"; then
			die "patches/$base/$patch does not apply"
		fi
		while read -r file; do
			[ -f "$top/$file" ] || die "$patch adds $file, which is not here"
			mode=100644
			[ ! -x "$top/$file" ] || mode=100755
			gt update-index --add --cacheinfo \
				"$mode,$(gt hash-object -w "$top/$file"),$file"
		done < <(new_files "$patch")
		author=$(sed -n 's/^Author: //p' "$tmp/info")
		email=$(sed -n 's/^Email: //p' "$tmp/info")
		date=$(sed -n 's/^Date: //p' "$tmp/info")
		{
			sed -n 's/^Subject: //p' "$tmp/info"
			echo
			cat "$tmp/msg"
		} | git stripspace >"$tmp/message"
		commit=$(commit_env "$author" "$email" "$date" \
			git -C "$tree" commit-tree -p "$commit" -F "$tmp/message" \
			"$(gt write-tree)") || die "cannot commit $patch"
	done < <(series_patches)
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

# export_series COMMIT DIR: what belongs into patches/<base>/ as DIR/patches,
# and the new files as DIR/files
export_series()
(
	local commit parent tip=$1 dir=$2 file

	if [ -n "$(gt rev-list --min-parents=2 "base..$tip")" ]; then
		die "there is a merge between base and ${tip:0:12}: a series is a line of commits"
	fi
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	mkdir -p "$dir/patches" "$dir/files"
	: >"$tmp/new"
	: >"$tmp/names"

	# The same commits without the new files, to be formatted by git
	parent=$(gt rev-parse base)
	export GIT_INDEX_FILE=$tmp/index
	for commit in $(gt rev-list --reverse "base..$tip"); do
		gt diff-tree -r --no-commit-id --no-renames --name-only \
			--diff-filter=a "$commit" | sort >"$tmp/changed"
		if grep -Fx -m 1 -f "$tmp/new" "$tmp/changed" >"$tmp/twice"; then
			die "$(gt log -1 --format='%h (%s)' "$commit") changes" \
				"$(cat "$tmp/twice"), which a commit before it adds:" \
				"a new file comes complete, by one commit"
		fi
		gt diff-tree -r --no-commit-id --no-renames --name-only \
			--diff-filter=A "$commit" | sort >"$tmp/added"
		while read -r file; do
			gt cat-file -e "base:$file" 2>/dev/null || echo "$file"
		done <"$tmp/added" >"$tmp/added-$commit"
		cat "$tmp/added-$commit" >>"$tmp/new"
		gt read-tree "$commit"
		gt update-index --force-remove --stdin <"$tmp/new"
		gt log -1 --format=%B "$commit" >"$tmp/message"
		parent=$(commit_env "$(gt log -1 --format=%an "$commit")" \
			"$(gt log -1 --format=%ae "$commit")" \
			"$(gt log -1 --format=%aD "$commit")" \
			git -C "$tree" commit-tree -p "$parent" -F "$tmp/message" \
			"$(gt write-tree)")
		echo "$commit" >>"$tmp/names"
	done

	format_patch --always --no-numbered -o "$dir/patches" "base..$parent"
	(cd "$dir/patches" && find . -name '*.patch' -printf '%f\n') | sort >"$tmp/series"
	paste -d ' ' "$tmp/names" "$tmp/series" | while read -r commit file; do
		[ -s "$tmp/added-$commit" ] || continue
		file=$dir/patches/$file
		# A patch without a diff has no "---" of its own
		grep -qx -- --- "$file" || echo --- >>"$file"
		sed 's/^/New-file: /' "$tmp/added-$commit" >"$tmp/lines"
		awk -v lines="$tmp/lines" '
			{ print }
			/^---$/ && !done { while ((getline line < lines) > 0) print line; done = 1 }
		' "$file" >"$tmp/patch"
		mv "$tmp/patch" "$file"
	done
	mv "$tmp/series" "$dir/patches/series"
	while read -r file; do
		mkdir -p "$dir/files/$(dirname "$file")"
		gt cat-file blob "$tip:$file" >"$dir/files/$file"
		case $(gt ls-tree "$tip" -- "$file") in
		100755*) chmod +x "$dir/files/$file" ;;
		esac
	done <"$tmp/new"
)
