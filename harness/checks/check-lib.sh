# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Shared by the checks, which are not run by themselves but by harness/test.sh.

. "$(dirname "${BASH_SOURCE[0]}")/../series-lib.sh"

made=$(gt rev-parse refs/vdpa-persist/made)
script=${0##*/}
script=${script%.sh}
places=$build/places
passed=$build/passed
checks=0

# A CPU of a guest that waits for another one, which the host does not run at that moment,
# spins. With more of them than processors, half of the time went there. Those that take
# turns do not. What looks for races asks vm.sh for CPUs that run --at-once.
export ACCEL=${ACCEL:-tcg,thread=single}

# take_place: wait for one of the places that all scripts share, as many as there
# are processors, if there is the memory; its number is $place. Only the first in the
# queue looks for one: if each did, the processors would be busy with that.
take_place()
{
	mkdir -p "$places"
	exec 6>"$places/queue"
	flock 6
	while :; do
		for ((place = 1; place <= jobs && place <= ROOM; place++)); do
			exec 8>"$places/$place"
			if flock -n 8; then
				exec 6>&-
				return
			fi
		done
		sleep 0.2
	done
}

# judge NUMBER KEY WHAT COMMAND...: one line that says whether the command
# succeeds; what it printed if it does not
judge()
{
	local name=$script-$1 key=$2 what=$3 file=$log/check/$script-$1.log code start took

	jobs=1
	# What passed within it is counted there
	export COUNT=$log/check/$name.count
	shift 3
	start=$(date +%s)
	set +e
	(
		set -e
		export JOBS=1
		"$@"
	) >"$file" 2>&1 </dev/null
	code=$?
	set -e
	took=$(($(date +%s) - start))
	if [ $code = 0 ]; then
		[ -z "$key" ] || remember "$key" "$name"
		tell pass "$what ($took s)"
	else
		tell fail "$what ($took s)" "$(tail -n 40 "$file" | sed 's/^/# /'
			echo "# all of it: $file")"
	fi
	echo "$took $what" >>"$log/check/times"
}

# remember KEY NAME: that a check has passed, and how many single tests it counted
remember()
{
	mkdir -p "$passed"
	# Another check may be doing the same
	find "$passed" -type f -mtime +30 -delete 2>/dev/null || true
	cat "$log/check/$2.count" >"$passed/$1" 2>/dev/null || : >"$passed/$1"
}

# announce: that one more check will tell what became of it; test.sh compares
announce()
{
	checks=$((checks + 1))
	echo "$script-$checks" >>"$log/check/announced"
}

# tell pass|fail WHAT [MORE]: the line of a check, and its share in the sum
tell()
{
	local not=''

	[ "$1" = pass ] || not='not '
	(
		flock 7
		echo "$1" >>"$TALLY"
		echo "$2" >>"$log/check/told"
		printf '%s\n' "${not}ok $(wc -l <"$TALLY") - $2" ${3:+"$3"}
	) 7>"$log/check/tell"
}

# check WHAT COMMAND...: before what comes next in the script
check()
{
	check_once '' "$@"
}

# check_once KEY WHAT COMMAND...: unless it has passed, as beside_once() says
check_once()
{
	announce
	! passed_before "$1" "$2" || return 0
	(
		take_place
		judge $checks "$@"
	)
}

# passed_before KEY WHAT: say so, and count what it counted
passed_before()
{
	[ "$1" ] && [ -e "$passed/$1" ] || return 1
	touch "$passed/$1"
	cat "$passed/$1" >>"$TALLY"
	tell pass "$2 (as before)"
}

# beside WHAT COMMAND...: in one of the places, while what comes next goes on. At
# the end of a script comes "wait".
beside()
{
	beside_once '' "$@"
}

# beside_once KEY WHAT COMMAND...: unless it has passed with this key, which is a
# digest of all that it depends on. Only what has passed is remembered.
beside_once()
{
	announce
	! passed_before "$1" "$2" || return 0
	# shellcheck disable=SC2064,SC2046
	trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
	# The place is the job's from here on
	take_place
	judge $checks "$@" &
	exec 8>&-
	place=''
}

# whole_state WORD...: a digest of all that a run in a machine depends on, and of
# the words
whole_state()
{
	{
		gt rev-parse 'base^{tree}' "$made^{tree}"
		find "$top/harness" "$patches" -type f ! -name '*.mutant' ! -name '*.patch' \
			! -path "$top/harness/checks/*" -print0 | sort -z | xargs -0 cat
		cat "$top/harness/checks/check-lib.sh" "$0"
		qemu-system-x86_64 --version
		echo "${ACCEL:-}"
		vdpa -V 2>&1
		gcc --version
		uname -srv
		echo "$@"
	} | digest
}

# once WHAT COMMAND...: in a machine, unless it has passed there as everything is
once()
{
	beside_once "$(whole_state "$*")" "$@"
}

# digest: of standard input
digest()
{
	sha256sum | cut -d' ' -f1
}

# A work tree of the commit that is checked, for what only reads; whatever is in
# the tree itself
check_tree=$build/check-tree

with_check_tree()
{
	(
		flock 7
		if [ ! -e "$check_tree/.git" ]; then
			rm -rf "$check_tree"
			gt worktree prune
			gt worktree add -q --detach "$check_tree" "$made"
		fi
		# Not twice: one check may have taken files away that it cannot read
		[ "$(git -C "$check_tree" rev-parse HEAD)" = "$made" ] ||
			git -C "$check_tree" checkout -q --force --detach "$made"
	) 7>"$build/check-tree.lock"
}

# The complaints of a compiler or a checker about the checked directories, as
# they can be compared between two commits: without the line numbers
complaints()
{
	grep -E '^[^ ]+\.[chS]:[0-9]+|: warning: objtool:|^(WARNING|ERROR): modpost:' "$1" |
		sed -E 's/^[^ ]*\/(drivers|include|tools)\//\1\//; s/:[0-9]+(:[0-9]+)?:/:/g; s/:[0-9]+(-[0-9]+)?:/:/g; s/\+0x[0-9a-f]+//g' |
		sort -u
}

# nothing_new BASE_LOG LOG: does LOG complain about no more than BASE_LOG?
nothing_new()
{
	complaints "$1" >"$2.base" || true
	complaints "$2" >"$2.sorted" || true
	if comm -13 "$2.base" "$2.sorted" | grep .; then
		return 1
	fi
	echo "$(wc -l <"$2.sorted") complaints, none that base does not give"
}

# subject_of PATCH: which may take more than one line
subject_of()
{
	sed -n '/^Subject: /,/^[^ ]*: \|^$/{s/^Subject: \[PATCH\] //p; /^ /p}' "$1" |
		tr -d '\n'
	echo
}

# use_disk NAME [bare]: $disk_machine are words for vm.sh that add a virtio disk with
# two virtqueues, behind an IOMMU or "bare", for the tests that want its address
disk_address=0000:00:09.0
use_disk()
{
	truncate -s 16M "$log/check/$1"
	disk_machine=()
	[ "${2:-}" = bare ] || disk_machine=(--iommu)
	disk_machine+=(--qemu "-drive if=none,id=d0,file=$log/check/$1,format=raw,snapshot=on"
		--qemu "-device virtio-blk-pci,drive=d0,iommu_platform=on,disable-legacy=on,num-queues=2,addr=9")
}
