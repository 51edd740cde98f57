#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Write the complete series, new files included, for git am and b4.

. "$(dirname "$0")/series-lib.sh"

"$top/harness/tree.sh"
tree_untouched || die "$tree has work that is not in patches/: make refresh first"

dir=$out/series
mbox=$out/vdpa-persist-$base.mbox
made=$(gt rev-parse refs/vdpa-persist/made)
count=$(gt rev-list --count "base..$made")
id=$(gt rev-parse --short=12 "$made^{tree}")
rm -rf "$dir" "$mbox"
mkdir -p "$dir"
if [ "$count" = 0 ]; then
	step "the series is empty"
	exit
fi

# message_id N: the same input gives the same mails
message_id()
{
	echo "<$id.$1@vdpa-persist>"
}

format_patch -n -o "$dir" "base..$made"
n=0
for file in "$dir"/*.patch; do
	n=$((n + 1))
	# b4 0.12 stumbles over folded headers
	awk -v ids="Message-Id: $(message_id $n)\nIn-Reply-To: $(message_id 0)\nReferences: $(message_id 0)" '
		/^$/ { body = 1 }
		!body && /^ / { line = line $0; next }
		NR > 1 { print line }
		NR == 2 { print ids }
		{ line = $0 }
		END { print line }
	' "$file" >"$file.new"
	mv "$file.new" "$file"
done
cat "$dir"/*.patch >"$mbox"

if [ -e "$patches/cover-letter" ]; then
	{
		echo "From $(printf '%040d' 0) Mon Sep 17 00:00:00 2001"
		echo "Message-Id: $(message_id 0)"
		gt log -1 --format='From: %an <%ae>%nDate: %aD' "$made"
		printf 'Subject: [PATCH %0*d/%d] ' ${#count} 0 "$count"
		sed -n '1s/^Subject: *//p' "$patches/cover-letter"
		echo 'MIME-Version: 1.0'
		echo 'Content-Type: text/plain; charset=UTF-8'
		echo 'Content-Transfer-Encoding: 8bit'
		echo
		sed '1,/^$/d' "$patches/cover-letter"
		echo
		plain_git shortlog "base..$made"
		plain_git diff --stat=72 --summary base "$made"
	} >"$dir/0000-cover-letter.patch"
fi
step "series: $count patches in ${dir#"$top"/}, and as ${mbox#"$top"/}"
