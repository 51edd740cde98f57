#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Write the complete series, new files included, for git am and b4: for each topic
# a folder of mails and an mbox of its patches, in the order of the topics.

. "$(dirname "$0")/series-lib.sh"
lock_build

"$top/harness/tree.sh"
tree_untouched || die "$tree has work that is not in patches/: make refresh first"

# message_id N: the same input gives the same mails
message_id()
{
	echo "<$id.$1@vdpa-persist>"
}

# add_ids FILE N: make the patch a reply to the cover letter
add_ids()
{
	# b4 0.12 stumbles over folded headers
	awk -v ids="Message-Id: $(message_id "$2")\nIn-Reply-To: $(message_id 0)\nReferences: $(message_id 0)" '
		/^$/ { body = 1 }
		!body && /^ / { line = line $0; next }
		NR > 1 { print line }
		NR == 2 { print ids }
		{ line = $0 }
		END { print line }
	' "$1" >"$1.new"
	mv "$1.new" "$1"
}

# cover_mail TOPIC FIRST LAST: of a topic with these commits
cover_mail()
{
	local cover=$patches/$1/cover-letter

	echo "From $(printf '%040d' 0) Mon Sep 17 00:00:00 2001"
	echo "Message-Id: $(message_id 0)"
	gt log -1 --format='From: %an <%ae>%nDate: %aD' "$3"
	printf 'Subject: [PATCH %0*d/%d] ' ${#count} 0 "$count"
	sed -n '1s/^Subject: *//p' "$cover"
	echo 'MIME-Version: 1.0'
	echo 'Content-Type: text/plain; charset=UTF-8'
	echo 'Content-Transfer-Encoding: 8bit'
	echo
	sed '1,/^$/d' "$cover"
	echo
	plain_git shortlog "$2..$3"
	plain_git diff --stat=72 --summary "$2" "$3"
}

# write_topic TOPIC FIRST LAST
write_topic()
{
	local file n=0 dir

	# The order of the names is that of the topics, for git am of all of them
	dir=$out/series/$(printf '%0*d' ${#topics} "$number")-$1
	mkdir -p "$dir"
	format_patch -n -o "$dir" "$2..$3"
	for file in "$dir"/*.patch; do
		n=$((n + 1))
		add_ids "$file" $n
	done
	cat "$dir"/*.patch >"$dir.mbox"
	cover_mail "$@" >"$dir/0000-cover-letter.patch"
	step "series: $count patches in ${dir#"$top"/}, and as ${dir#"$top"/}.mbox"
}

rm -rf "$out/series"
mkdir -p "$out/series"
mapfile -t commits < <(gt rev-list --reverse base..refs/vdpa-persist/made)
topics=$(series_topics | wc -l) number=0 at=0
for topic in $(series_topics); do
	number=$((number + 1))
	count=$(topic_patches "$topic" | wc -l)
	# The commit with which the topic begins is its cover letter
	last=${commits[at + count]}
	id=$(gt rev-parse --short=12 "$last^{tree}")
	[ "$count" = 0 ] || write_topic "$topic" "${commits[at]}" "$last"
	at=$((at + count + 1))
done
[ $number != 0 ] || step "the series is empty"
