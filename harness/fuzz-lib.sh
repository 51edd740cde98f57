# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# What is shared by those who run the fuzzer's program.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

fuzz=$top/tools/testing/vdpa/fuzz
corpus=$fuzz/corpus
parents=(set_map dma_map)

# build_fuzz PROGRAM: "fuzz", with libFuzzer, or "replay", without, in $build/fuzz
build_fuzz()
{
	"$top/harness/build-selftests.sh" >/dev/null
	mkdir -p "$build/fuzz"
	logged "build-$1" make -C "$fuzz" OUTPUT="$build/fuzz" \
		SELFTESTS="$tree/tools/testing/selftests/vdpa" \
		LIB="$build/selftests/lib/vdpa.a" \
		KHDR_INCLUDES="-isystem $(obj_dir fast)/usr/include" "$build/fuzz/$1"
}

# replay_inputs WHERE PARENT FILE...: each of them once, where the words of vm.sh say
replay_inputs()
{
	local where=$1 parent=$2 options

	shift 2
	read -ra options <<<"$where"
	# The eighth mapping of a page is not one too many
	"$top/harness/vm.sh" "${options[@]}" --smp 1 --append "dma_debug=off loglevel=5" -- \
		env FUZZ_PARENT="$parent" ${TRACE:+FUZZ_TRACE=1} "$build/fuzz/replay" "$@"
}
