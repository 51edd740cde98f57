#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# How long others wait for the CPU while a client has single pages mapped and
# unmapped, with the modules of the base and with ours: a table, and all figures
# in out/<base>/latency.
#
# On one CPU whose clock counts instructions, a thread of the highest priority
# looks how late it wakes up. This kernel is preempted only where it says so
# (PREEMPT_VOLUNTARY), so what is found includes all that is done with interrupts
# or preemption off. Shorter sections than the 20 us that the thread sleeps can
# be missed.
#
# The page allocator keeps up to 7,000 free pages per CPU, and gives them back with
# interrupts off, all at once, when a larger block is freed: 1.5 ms, which any close
# of a file can meet after so many small pages were freed. That is not what is to be
# measured, so that it is made to keep few.
#
# PARENTS  which to measure (set_map dma_map mlx5 vduse)
# SIDES    with which modules (unpatched ours)
# MODULES  a folder of modules, instead of ours
# MIB      how much to map (4096)
# FIGURES  the file for the figures

. "$(dirname "$0")/lib.sh"

"$top/harness/build-selftests.sh" >/dev/null
parents=${PARENTS:-set_map dma_map mlx5 vduse}
phases='map plug unmap reset close'
sides=${SIDES:-unpatched ours}
mib=${MIB:-4096}
figures=${FIGURES:-$out/latency}
limit=1000 # us
mkdir -p "$out"

# measure SIDE PARENT: a million ranges are more than the base allows by default
measure()
{
	local side=$1 parent=$2 option=() entries=max_iotlb_entries=2000000 sim load

	# Newer ones take only shared memory by default; 6.1 ignores the word
	sim="$entries use_va=0"

	[ "$side" = ours ] || option=(--unpatched)
	[ "$side" != ours ] || [ -z "${MODULES:-}" ] || option=(--modules "$MODULES")
	load="modprobe vhost_vdpa $entries"
	case $parent in
	set_map) load+=" && modprobe vdpa_sim batch_mapping=1 $sim" ;;
	dma_map) load+=" && modprobe vdpa_sim batch_mapping=0 $sim" ;;
	mlx5) load+=" && modprobe -a mlx5_mock && modprobe mlx5_vdpa $entries" ;;
	esac
	step "$parent, the modules: $side"
	# The base can't do all of it, and the output says so
	"$top/harness/vm.sh" --icount --mem 4G --mlx5 --timeout 1800 "${option[@]}" -- \
		"echo 0 >/proc/sys/kernel/printk
		echo 50000 >/proc/sys/vm/percpu_pagelist_high_fraction; $load &&
		$build/selftests/latency $side $parent $mib; true" >>"$figures" ||
		die "measuring $parent (see $figures)"
}

# microseconds SIDE PARENT PHASE
microseconds()
{
	awk -v want="modules=$1 parent=$2 phase=$3" '
		/^latency / && $2 " " $3 " " $5 == want {
			sub("ns_max=", "", $6)
			printf "%d\n", $6 / 1000
			found = 1
		}
		END { if (!found) print "-" }' "$figures"
}

: >"$figures"
for parent in $parents; do
	for side in $sides; do
		measure "$side" "$parent"
	done
done

failed=0
printf '\nLongest wait for the CPU, in thousands of guest instructions (us at 1 ns each)\n'
printf '%-10s %9s %12s %12s\n' parent phase base ours
for parent in $parents; do
	for phase in $phases; do
		ours=$(microseconds ours "$parent" "$phase")
		printf '%-10s %9s %12s %12s\n' "$parent" "$phase" \
			"$(microseconds unpatched "$parent" "$phase")" "$ours"
		[ "$ours" != - ] && [ "$ours" -lt $limit ] || failed=1
	done
done
echo "$((mib * 256)) ranges of 4 KiB; VDUSE has room for 2048."
[ $failed = 0 ] || die "ours takes longer than it may"
