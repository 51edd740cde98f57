#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Where mapping and unmapping spend their time, by function: what the guest's CPU
# does is looked up many times a second from outside of it, so that code that runs
# with interrupts disabled is seen as well. Into out/<base>/profile.txt.

. "$(dirname "$0")/lib.sh"
lock_build

need profile
"$top/harness/build-selftests.sh" >/dev/null
socket=$(mktemp -u)
symbols=$log/profile.symbols
mkdir -p "$out"
: >"$out/profile.txt"

# profile SIDE MEMORY ROUNDS [OPTION]...
profile()
{
	local side=$1 memory=$2 rounds=$3

	shift 3
	step "profiling the $side modules, $memory"
	# The modules are where they are when the parent has been loaded once
	"$top/harness/vm.sh" --smp 1 --timeout 300 \
		--qemu "-qmp unix:$socket,server=on,wait=off" "$@" -- \
		"$build/selftests/map_perf $side dma_map $memory 4 >/dev/null
		cat /proc/kallsyms
		$build/selftests/map_perf -r $rounds $side dma_map $memory 64
		sleep 2" \
		>"$symbols" &
	{
		echo "$side modules, $memory: share of the samples in the kernel"
		"$top/harness/profile.py" "$socket" "$symbols"
		echo
	} | tee -a "$out/profile.txt"
	wait $! || die "profiling $side"
}

profile unpatched 4k 500 --unpatched
profile ours 4k 2000
profile ours thp 20000
