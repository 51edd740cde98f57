#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Fuzz vhost-vdpa with the simulator below it, in each of the two ways in which a
# parent is told of mappings, and say what of the kernel was reached.
#
# MINUTES   for each of them, at the same time (10)
# REPLAY    instead, run this file, one operation after the other, in the same kernel
# MUTANTS   instead, say which of these bugs the corpus finds: names of harness/mutants,
#           or "listed" for those of tools/testing/vdpa/fuzz/mutants
# FLAVOUR   of the kernel (fuzz); "uml" is the same as a program of the host, about four
#           times as fast where virtual machines are emulated; "mutation" is without KASAN,
#           lockdep and coverage

. "$(dirname "$0")/fuzz-lib.sh"
lock_build

found=$out/fuzz
as_found="--flavour $flavour --append kmemleak=off"

# Both, as an input does not say for which it was found
if [ "${REPLAY:-}" ]; then
	file=$(realpath "$REPLAY")
	"$top/harness/kernel.sh" "$flavour"
	build_fuzz replay
	code=0
	for parent in "${parents[@]}"; do
		step "replaying $REPLAY with .$parent"
		TRACE=y replay_inputs "$as_found" "$parent" "$file" || code=$?
	done
	exit $code
fi

need fuzz
minutes=${MINUTES:-10}
"$top/harness/kernel.sh" "$flavour"
if [ "${MUTANTS:-}" ]; then
	exec "$top/harness/fuzz-mutants.sh"
fi
build_fuzz fuzz
build_fuzz replay
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
		head -c $((length + 4)) "$1/last" | tail -c +5 >"$file"
	fi
	cp "$file" "$found/$2-$(date +%Y%m%d-%H%M%S)"
	file=$(find "$found" -type f -name "$2-*" ! -name '*.log' | sort | tail -n 1)
	echo "the input: $file"
	echo "to replay it: make fuzz REPLAY=$file"
	if replay_inputs "$as_found" "$2" "$file" >"$file.log" 2>&1; then
		echo "replayed by itself, it does not fail again: $file.log"
	else
		echo "replayed by itself, it fails again: $file.log"
	fi
}

# run PARENT
run()
{
	local work=$build/fuzz/$1 code=0

	step "fuzzing vhost-vdpa on a parent with .$1 for $((minutes * 60)) seconds"
	run_fuzz "$1" $((minutes * 60)) "$work" >"$log/fuzz-$1.log" 2>&1 || code=$?
	grep -aE '^fuzz: ' "$log/fuzz-$1.log" || true
	grep -aE '^#[0-9]+.*(DONE|pulse)' "$log/fuzz-$1.log" | tail -n 1 || true
	[ $code = 0 ] || {
		grep -aE '^FAILED|^WRONG|^\| ' "$log/fuzz-$1.log" || tail -n 20 "$log/fuzz-$1.log"
		echo "all that it said: $log/fuzz-$1.log"
		keep "$work" "$1"
	}
	return $code
}

failed=0 pids=()
# What begins later finds it all built
for parent in "${parents[@]}"; do
	run "$parent" >"$log/fuzz-said-$parent" &
	pids+=($!)
done
# Not $pids: those that have ended can be the numbers of other processes by then
# shellcheck disable=SC2046
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
for pid in "${pids[@]}"; do
	wait "$pid" || failed=1
done
for parent in "${parents[@]}"; do
	echo "$parent:"
	cat "$log/fuzz-said-$parent"
done
# Modules of user-mode Linux call by registers, in which the calls cannot be told apart. What it
# has found is in the corpus of the other flavour, too
[ "$flavour" = fuzz ] || exit $failed
for parent in "${parents[@]}"; do
	cat "$build/fuzz/$parent/cover" 2>/dev/null || true
done | sort -u >"$build/fuzz/cover"
"$top/harness/fuzz-cover.py" "$tree" "$(obj_dir fuzz)" "$build/fuzz/cover" "$out/fuzz-not-reached.txt" \
	"$(list "$top/harness/config/fuzz.objects" | xargs)"
exit $failed
