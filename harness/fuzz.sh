#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Fuzz vhost-vdpa with the simulator below it, in each of the two ways in which a
# parent is told of mappings, and say what of the kernel was reached.
#
# MINUTES   for both of them (10)
# REPLAY    instead, run this file, one operation after the other, in the same kernel

. "$(dirname "$0")/fuzz-lib.sh"
lock_build

found=$out/fuzz

# Both, as an input does not say for which it was found
if [ "${REPLAY:-}" ]; then
	file=$(realpath "$REPLAY")
	"$top/harness/kernel.sh" fuzz
	build_fuzz replay
	code=0
	for parent in "${parents[@]}"; do
		step "replaying $REPLAY with .$parent"
		TRACE=y replay_inputs "--flavour fuzz" "$parent" "$file" || code=$?
	done
	exit $code
fi

need fuzz
minutes=${MINUTES:-10}
"$top/harness/kernel.sh" fuzz
build_fuzz fuzz
mkdir -p "$found"

# keep FOLDER PARENT: where the input is that the guest ended with
keep()
{
	local file length

	file=$(find "$1/found" -type f | head -n 1)
	if [ ! "$file" ]; then
		# The kernel died, and libFuzzer with it
		file=$1/found/kernel
		length=$(od -A n -t u4 -N 4 "$1/last" | tr -d ' ')
		[ "$length" != 0 ] || {
			echo "there is no input: it ended before the first one"
			return
		}
		tail -c +5 "$1/last" | head -c "$length" >"$file"
	fi
	cp "$file" "$found/$2-$(date +%Y%m%d-%H%M%S)"
	file=$(find "$found" -type f -name "$2-*" | sort | tail -n 1)
	echo "the input: $file"
	echo "to replay it: make fuzz REPLAY=$file"
}

# run PARENT
run()
{
	local work=$build/fuzz/$1 code=0

	rm -rf "$work/found" "$work/cover"
	mkdir -p "$work/corpus" "$work/found"
	truncate -s 0 "$work/last"
	truncate -s 1M "$work/last"
	step "fuzzing vhost-vdpa on a parent with .$1 for $((minutes * 30)) seconds"
	# With one CPU nobody waits for another one, which a busy host may not run
	"$top/harness/vm.sh" --flavour fuzz --smp 1 --timeout $((minutes * 30 + 300)) \
		--append "dma_debug=off loglevel=5" \
		--qemu "-fsdev local,id=fuzz,path=$work,security_model=none" \
		--qemu "-device virtio-9p-pci,fsdev=fuzz,mount_tag=fuzz" \
		--qemu "-object memory-backend-file,id=last,size=1M,share=on,mem-path=$work/last" \
		--qemu "-device ivshmem-plain,memdev=last" \
		-- "$top/harness/fuzz-guest.sh" "$build/fuzz/fuzz" "$1" $((minutes * 30)) "$corpus" \
		>"$log/fuzz-$1.log" 2>&1 || code=$?
	grep -aE '^fuzz: ' "$log/fuzz-$1.log" || true
	grep -aE '^#[0-9]+.*(DONE|pulse)' "$log/fuzz-$1.log" | tail -n 1 || true
	[ $code = 0 ] || {
		grep -aE '^FAILED|^WRONG|^\| ' "$log/fuzz-$1.log" || tail -n 20 "$log/fuzz-$1.log"
		echo "all that it said: $log/fuzz-$1.log"
		keep "$work" "$1"
	}
	return $code
}

failed=0
for parent in "${parents[@]}"; do
	echo "$parent:"
	run "$parent" || failed=1
done
cat "$build"/fuzz/*/cover 2>/dev/null | sort -u >"$build/fuzz/cover"
"$top/harness/fuzz-cover.py" "$tree" "$(obj_dir fuzz)" "$build/fuzz/cover" "$out/fuzz-not-reached.txt" \
	"$(list "$top/harness/config/fuzz.objects" | xargs)"
exit $failed
