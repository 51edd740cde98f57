#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# fuzz-guest.sh PROGRAM PARENT SECONDS CORPUS FOLDER FACTS: in the guest of fuzz.sh, which shares
# a folder with it for what is found, in which is the last input; with QEMU, it is in the
# memory of a PCI device.

set -eu
program=$1 parent=$2 seconds=$3 corpus=$4 folder=$5 facts=$6

# last_of_qemu: where the memory for the last input is
last_of_qemu()
{
	local device

	for device in /sys/bus/pci/devices/*; do
		[ "$(cat "$device/vendor" "$device/device" | xargs)" != "0x1af4 0x1110" ] || break
	done
	echo 1 >"$device/enable"
	echo "$device/resource2"
}

mkdir -p /run/fuzz
if grep -qw hostfs /proc/filesystems; then
	# User-mode Linux
	mount -t hostfs -o "$folder" none /run/fuzz
	export FUZZ_LAST_FILE=/run/fuzz/last
else
	mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 fuzz /run/fuzz
	FUZZ_LAST=$(last_of_qemu)
	export FUZZ_LAST
fi
export FUZZ_PARENT=$parent FUZZ_FACTS=$facts FUZZ_COVER=/run/fuzz/cover
cd /run/fuzz
exec "$program" -max_total_time="$seconds" -max_len=130 -len_control=0 -timeout=600 \
	-rss_limit_mb=0 -reload=0 -use_cmp=0 -report_slow_units=100000 -print_final_stats=1 -artifact_prefix=found/ corpus "$corpus"
