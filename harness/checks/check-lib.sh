# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Shared by the checks, which are not run by themselves but by harness/test.sh.

. "$(dirname "${BASH_SOURCE[0]}")/../series-lib.sh"

made=$(gt rev-parse refs/vdpa-persist/made)
script=${0##*/}
script=${script%.sh}

# check WHAT COMMAND...: one line that says whether the command succeeds; what
# it printed if it does not
check()
{
	local what=$1 code number file start

	shift
	start=$(date +%s)
	number=$(($(wc -l <"$TALLY") + 1))
	file=$log/check/$script-$number.log
	set +e
	(
		set -e
		"$@"
	) >"$file" 2>&1 </dev/null
	code=$?
	set -e
	if [ $code = 0 ]; then
		echo pass >>"$TALLY"
		echo "ok $number - $what ($(($(date +%s) - start)) s)"
	else
		echo fail >>"$TALLY"
		echo "not ok $number - $what ($(($(date +%s) - start)) s)"
		tail -n 40 "$file" | sed 's/^/# /'
		echo "# all of it: $file"
	fi
}

# A second work tree, in which the checks move from commit to commit, and the
# place where they compile it
check_tree=$build/check-tree
check_obj=$build/check-obj
check_dirs='drivers/vdpa/ drivers/vhost/ drivers/virtio/'

check_checkout()
{
	if [ ! -e "$check_tree/.git" ]; then
		rm -rf "$check_tree"
		gt worktree prune
		gt worktree add -q --detach "$check_tree" base
	fi
	git -C "$check_tree" checkout -q --force --detach "$1"
	git -C "$check_tree" clean -qfdx
}

check_make()
{
	make -C "$check_tree" O="$check_obj" ARCH=x86_64 LOCALVERSION= -j"$jobs" "$@"
}

# A configuration in which every vDPA driver is compiled
check_configure()
(
	need gcc:gcc make:make flex:flex bison:bison bc:bc perl:perl \
		/usr/include/stdio.h:libc6-dev /usr/include/libelf.h:libelf-dev
	mkdir -p "$check_obj"
	cd "$check_tree"
	ARCH=x86_64 scripts/kconfig/merge_config.sh -n -O "$check_obj" \
		kernel/configs/tiny-base.config \
		"$top"/harness/config/{guest,vdpa,fast,check}.config >"$check_obj/config.log"
	if grep 'not in final .config' "$check_obj/config.log"; then
		return 1
	fi
	check_make -s prepare modules_prepare
)

# The complaints of a compiler or a checker about the checked directories, as
# they can be compared between two commits: without the line numbers
complaints()
{
	grep -E '^[^ ]+\.[chS]:[0-9]+' "$1" |
		sed -E 's/^[^ ]*\/(drivers|include)\//\1\//; s/:[0-9]+(:[0-9]+)?:/:/g; s/:[0-9]+(-[0-9]+)?:/:/g' |
		sort -u
}

# nothing_new BASE_LOG LOG: does LOG complain about no more than BASE_LOG?
nothing_new()
{
	complaints "$1" >"$1.sorted" || true
	complaints "$2" >"$2.sorted" || true
	if comm -13 "$1.sorted" "$2.sorted" | grep .; then
		return 1
	fi
	echo "$(wc -l <"$2.sorted") complaints, none that base does not give"
}
