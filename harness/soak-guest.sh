#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Inside a guest of soak.sh: the same selftests again and again.
#   soak-guest.sh SELFTESTS VARIANT ROUNDS SECONDS
# What is in use is looked at before, after the first rounds, which fill caches, half
# way and at the end. A page that is pinned at the end, and was not before, is a leak.
# What else there is more of is one if it grew in both halves by more than noise does.

selftests=$1 variant=$2 rounds=$3 seconds=$4
work=$(mktemp -d)

# Lines "NAME AMOUNT NOISE": the noise is by how much it varies by itself
pins()
{
	awk '/^nr_foll_pin_acquired/ { n += $2 }
		/^nr_foll_pin_released/ { n -= $2 }
		END { print "pages that are pinned", n, 0 }' /proc/vmstat
}

memory()
{
	awk '{ kib[$1] = $2 }
		END {
			print "slab that cannot be reclaimed, KiB", kib["SUnreclaim:"], 96
			print "memory for each CPU, KiB", kib["Percpu:"], 64
			print "stacks of the kernel, KiB", kib["KernelStack:"], 64
			print "all memory in use, KiB", kib["MemTotal:"] - kib["MemAvailable:"], 2048
		}' /proc/meminfo
}

# Only the debug kernel has them, and some that its own debugging aids keep. Those that
# are free count for as long as a CPU has them at hand, hundreds of some: of few that
# leak, kmemleak tells.
objects()
{
	[ ! -e /proc/slabinfo ] ||
		awk 'NR > 2 && !/^(debug_objects|kmemleak)/ { print "objects of " $1, $2, 1000 }' /proc/slabinfo
}

# state NUMBER: what is in use, when nothing is being freed any more
state()
{
	local cache

	for _ in 1 2; do
		sync
		echo 3 >/proc/sys/vm/drop_caches
		for cache in /sys/kernel/slab/*/shrink; do
			echo 1 >"$cache"
		done
		sleep 1
	done
	echo 1 >/proc/sys/vm/stat_refresh
	{
		pins
		memory
		objects
	} >"$work/state.$1"
	# For whoever reads what a machine said that did not come to its end
	echo "@ in use"
	amounts | sed 's/^/@ /'
}

# run TIMES PROGRAM PATTERN: those of its tests, with fewer rounds of their own
run()
{
	[ ! "$failed" ] || return 0
	"$selftests/$2" -q -i "$1" -t "$3" >"$work/tap" 2>&1 &&
		grep '^ok ' "$work/tap" | grep -qv '# SKIP' && return
	failed=$2
	grep -E '^not ok |^# .*(Expected|==|SEED)' "$work/tap" || tail -n 20 "$work/tap"
}

# run_rounds TIMES: a round is each of these once. Of the races there are 15 rounds of
# their own each time, which take long, and so they come once in ten rounds. Those that
# remove modules are no part of a device's life.
run_rounds()
{
	# 5 times vhost, virtio, vhost; a client that is killed; each on a new device
	run "$1" handover "*.$variant.@(there_and_back_100_times|client_that_was_killed)"
	run "$1" vhost_vdpa "client.$variant.persist_1000_resets_under_traffic"
	# Memory that is plugged, unplugged and replaced while the device works
	run "$1" reach "*.$variant.changes_with_the_batch"
	case $variant in
	net_mlx5)
		run "$1" mlx5_stream 'stream.not_resumable.goes_on_@(over_changes_of_the_map|after_a_suspend|after_a_reset)'
		;;
	vduse_blk)
		run "$1" vduse '*@(next_daemon_serves_the_same_mappings|full_table_can_be_replaced)'
		;;
	esac
	[ "$n" -lt "$races" ] || {
		races=$((races + 10))
		run 1 races "*.$variant.!(module_removed_meanwhile)"
		[ "$failed" ] || raced=$((raced + 15))
	}
}

# amounts: a line for each name, and the leaks. Of objects only what has leaked.
amounts()
{
	local file files=()

	for file in "$work"/state.{1,2,3,4}; do
		[ ! -e "$file" ] || files+=("$file")
	done
	awk '
		FNR == 1 { state = substr(FILENAME, length(FILENAME)) }
		{
			noise = $NF
			amount = $(NF - 1)
			sub(/ [^ ]* [^ ]*$/, "")
			if (!($0 in floor))
				order[++names] = $0
			floor[$0] = noise
			in_use[$0, state] = amount
		}
		function grew(name, from, to) {
			return (name, from) in in_use && (name, to) in in_use &&
			       in_use[name, to] - in_use[name, from] > floor[name]
		}
		END {
			for (i = 1; i <= names; i++) {
				name = order[i]
				leak = floor[name] ? grew(name, 2, 3) && grew(name, 3, 4) : grew(name, 1, 4)
				if (!leak && name ~ /^objects of /)
					continue
				printf "%-36s", (leak ? "LEAK: " : "  ") name
				for (state = 1; state <= 4; state++)
					printf "%11s", (name, state) in in_use ? in_use[name, state] : "-"
				print ""
			}
		}' "${files[@]}"
}

n=0 warm=0 half=0 races=0 raced=0 failed=''
# Who has as long as it takes looks less often
chunk=$((rounds < 50 || seconds < 7 * 24 * 3600 ? 1 : 10))
# Or much of what is freed stays with each CPU, and counts as in use
echo 50000 >/proc/sys/vm/percpu_pagelist_high_fraction
state 1
while [ $n -lt "$rounds" ] && [ $SECONDS -lt "$seconds" ] && [ ! "$failed" ]; do
	run_rounds $chunk
	[ ! "$failed" ] || break
	n=$((n + chunk))
	echo "@ $n rounds, $SECONDS s"
	if [ $warm = 0 ]; then
		warm=$n
		state 2
	elif [ $half = 0 ] && { [ $((2 * n)) -ge $((rounds + warm)) ] ||
				[ $((2 * SECONDS)) -ge "$seconds" ]; }; then
		half=$n
		state 3
	fi
done
took=$SECONDS
state 4
echo "$n rounds and $raced of races in $took s; in use before, after round $warm, $half and $n:"
amounts | tee "$work/amounts"
[ ! "$failed" ] || echo "FAILED: $failed, after $n rounds"
[ "$failed" ] || [ $half != 0 ] || echo "FAILED: too few rounds to compare"
[ ! "$failed" ] && [ $half != 0 ] && ! grep -q ^LEAK "$work/amounts"
