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

round_trip()
{
	local before

	ours tree
	echo 'an edit' >>"$work/drivers/a.c"
	in_work commit -qam 'a: an edit'
	mkdir "$work/tools"
	echo 'a file' >"$work/tools/new.c"
	echo 'a script' >"$work/tools/new.sh"
	chmod +x "$work/tools/new.sh"
	in_work add tools
	in_work commit -q --author='Jörg <j@localhost>' -m 'tools: nothing but new — files' -m 'Größe.'
	echo 'a page' >"$work/page.rst"
	echo 'an edit' >>"$work/drivers/b.c"
	in_work add .
	in_work commit -qm 'b: an edit and a new file'
	ours refresh
	[ -x "$home/ours/tools/new.sh" ]
	[ "$(cat "$home/ours/page.rst")" = 'a page' ]
	must_fail grep -r 'a page' "$home/ours/patches"
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
	[ "$(wc -l <"$home/ours/patches/tiny/series")" = 4 ]

	# Gone in the tree: gone here
	in_work reset -q --hard HEAD~3
	ours refresh
	[ "$(wc -l <"$home/ours/patches/tiny/series")" = 1 ]
	[ ! -e "$home/ours/page.rst" ]
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
	sed -i 's/^ drivers\/a.c$/ other text/' "$home"/ours/patches/tiny/0001-*
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
check "harness: what does not fit is refused" unfit
check "harness: a complaint that base does not give is seen" compared
