# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
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
{
	local tmp commit patch file mode name email date

	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' RETURN
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
		name=$(sed -n 's/^Author: //p' "$tmp/info")
		email=$(sed -n 's/^Email: //p' "$tmp/info")
		date=$(sed -n 's/^Date: //p' "$tmp/info")
		{
			sed -n 's/^Subject: //p' "$tmp/info"
			echo
			cat "$tmp/msg"
		} | git stripspace >"$tmp/message"
		commit=$(commit_env "$name" "$email" "$date" \
			git -C "$tree" commit-tree -p "$commit" -F "$tmp/message" \
			"$(gt write-tree)") || die "cannot commit $patch"
	done < <(series_patches)
	unset GIT_INDEX_FILE
	echo "$commit"
}
