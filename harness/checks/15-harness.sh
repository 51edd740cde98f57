#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The harness's own handling of a series, tried on a kernel of three files

. "$(dirname "$0")/check-lib.sh"

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
mkdir -p "$home/ours/patches/tiny"
cp -r "$top/harness" "$top/Makefile" "$home/ours"
echo 'package=none' >"$home/ours/patches/tiny/base"
export BASE=tiny BASE_TREE=$home/kernel
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@localhost
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@localhost

git init -q "$home/kernel"
mkdir "$home/kernel/drivers"
for file in Makefile drivers/a.c drivers/b.c; do
	echo "$file" >"$home/kernel/$file"
done
git -C "$home/kernel" add .
git -C "$home/kernel" commit -qm 'A kernel'

work=$home/ours/build/tiny-own/tree
in_work()
{
	git -C "$work" "$@"
}

ours()
{
	"$home/ours/harness/$1.sh"
}

must_fail()
{
	if "$@"; then
		echo "this should have failed: $*"
		return 1
	fi
}

topic()
{
	in_work commit -q --allow-empty -m "$1: a title" -m "What $1 is for." -m "Topic: $1"
}

round_trip()
{
	local before

	ours tree
	topic first
	echo 'an edit' >>"$work/drivers/a.c"
	in_work commit -qam 'a: an edit'
	mkdir "$work/tools"
	echo 'a file' >"$work/tools/new.c"
	echo 'a script' >"$work/tools/new.sh"
	chmod +x "$work/tools/new.sh"
	in_work add tools
	in_work commit -q --author='Jörg <j@localhost>' -m 'tools: nothing but new — files' -m 'Größe.'
	topic second
	echo 'a page' >"$work/page.rst"
	echo 'an edit' >>"$work/drivers/b.c"
	in_work add .
	in_work commit -qm 'b: an edit and a new file'
	ours refresh
	[ -x "$home/ours/tools/new.sh" ]
	[ "$(cat "$home/ours/page.rst")" = 'a page' ]
	must_fail grep -r 'a page' "$home/ours/patches"
	[ "$(cat "$home/ours/patches/tiny/series")" = $'first\nsecond' ]
	[ "$(wc -l <"$home/ours/patches/tiny/first/series")" = 2 ]
	[ "$(cat "$home/ours/patches/tiny/second/cover-letter")" = \
		$'Subject: second: a title\n\nWhat second is for.' ]
	[ -e "$home/ours/patches/tiny/second/0001-b-an-edit-and-a-new-file.patch" ]
	before=$(in_work rev-parse HEAD)

	# A tree made from nothing is the same commits, and gives the same files
	cp -r "$home/ours/patches" "$home/patches"
	rm -rf "$home/ours/build"
	ours tree
	[ "$(in_work rev-parse HEAD)" = "$before" ]
	ours refresh
	diff -r "$home/ours/patches" "$home/patches"
}

incremental()
{
	touch -d '2001-01-01' "$work/drivers/b.c"
	in_work update-index -q --refresh
	echo 'another page' >"$home/ours/page.rst"
	ours tree
	[ "$(cat "$work/page.rst")" = 'another page' ]
	[ "$(date -r "$work/drivers/b.c" +%Y)" = 2001 ]
}

nothing_lost()
{
	# Changed in the tree only: both refuse, and a commit can be taken back
	echo 'work' >>"$work/Makefile"
	echo 'a third page' >"$home/ours/page.rst"
	must_fail ours tree
	must_fail ours refresh
	in_work commit -qam 'Makefile: work'
	must_fail ours tree
	must_fail ours refresh
	must_fail ours series
	[ "$(cat "$home/ours/page.rst")" = 'a third page' ]
	echo 'another page' >"$home/ours/page.rst"
	ours refresh
	[ "$(wc -l <"$home/ours/patches/tiny/second/series")" = 2 ]

	# Gone in the tree: gone here
	in_work reset -q --hard HEAD~4
	ours refresh
	[ "$(cat "$home/ours/patches/tiny/series")" = first ]
	[ "$(wc -l <"$home/ours/patches/tiny/first/series")" = 1 ]
	[ ! -e "$home/ours/patches/tiny/second" ]
	[ ! -e "$home/ours/page.rst" ]
}

# Over the boundary, in a rebase: into the other topic
moved()
{
	topic second
	echo 'an edit' >>"$work/drivers/b.c"
	in_work commit -qam 'b: an edit'
	ours refresh
	[ -e "$home/ours/patches/tiny/second/0001-b-an-edit.patch" ]
	in_work -c sequence.editor='sed -i "1{h;d};2G"' rebase -q -i HEAD~2
	ours refresh
	[ -e "$home/ours/patches/tiny/first/0002-b-an-edit.patch" ]
	[ ! -s "$home/ours/patches/tiny/second/series" ]
	in_work reset -q --hard HEAD~2
	ours refresh
}

# refused PATTERN: refresh says what is wrong with the commits on top
refused()
{
	local output

	if output=$(ours refresh 2>&1); then return 1; fi
	grep "$1" <<<"$output"
	in_work reset -q --hard refs/vdpa-persist/made
}

no_topic()
{
	in_work commit -q --allow-empty -m 'nothing'
	refused 'is empty, and names no topic'
	topic first
	refused 'two topics'
	topic 'no name'
	refused 'no name for a topic'
	echo 'an edit' >>"$work/drivers/b.c"
	in_work commit -qam 'b: an edit' -m 'Topic: third'
	refused 'changes files'
	in_work reset -q --hard base
	echo 'an edit' >>"$work/drivers/b.c"
	in_work commit -qam 'b: an edit'
	refused '(b: an edit) comes before any topic'
}

unfit()
{
	echo 'a file' >"$work/new.c"
	in_work add .
	in_work commit -qm 'new.c: come'
	echo 'an edit' >>"$work/new.c"
	in_work commit -qam 'new.c: change'
	must_fail ours refresh
	in_work reset -q --hard HEAD~2
	sed -i 's/^ drivers\/a.c$/ other text/' "$home"/ours/patches/tiny/first/0001-*
	must_fail ours tree
}

compared()
{
	local cocci=/o/check-tree/drivers/vdpa/x.c:1:2-9:

	printf '%s\n' 'CC x.o' '../t/drivers/x.c:1:2: warning: old' "$cocci old" >"$home/base"
	sed 's/:1:2/:7:4/' "$home/base" >"$home/same"
	nothing_new "$home/base" "$home/same"
	echo '../t/drivers/x.c:1:2: warning: new' | cat "$home/base" - >"$home/more"
	must_fail nothing_new "$home/base" "$home/more"
	echo "$cocci new" | cat "$home/base" - >"$home/more"
	must_fail nothing_new "$home/base" "$home/more"
}

check "harness: a series survives the way to the tree and back" round_trip
check "harness: what did not change is not touched" incremental
check "harness: no work is thrown away" nothing_lost
check "harness: a commit that is moved over a boundary changes its topic" moved
check "harness: commits outside of topics are refused" no_topic
check "harness: what does not fit is refused" unfit
check "harness: a complaint that base does not give is seen" compared
