# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# What is shared by those who run the fuzzer's program.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

fuzz=$top/tools/testing/vdpa/fuzz
corpus=$fuzz/corpus
parents=(set_map dma_map)
# What the model has to know of this base
facts=$(list "$patches/fuzz-facts" | xargs)
flavour=${FLAVOUR:-fuzz}
# The eighth mapping of a page is not one too many. What allocates from these caches can be
# made to fail; kmemleak, with its own, is not counted with it
words="dma_debug=off loglevel=5 slub_debug=A,kmalloc-*,filp,names_cache"

# build_fuzz PROGRAM: "fuzz", with libFuzzer, or "replay", without, in $build/fuzz
build_fuzz()
{
	"$top/harness/build-selftests.sh" >/dev/null
	mkdir -p "$build/fuzz"
	logged "program-$1" make -C "$fuzz" OUTPUT="$build/fuzz" \
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
	"$top/harness/vm.sh" "${options[@]}" --smp 1 --append "$words" -- \
		env FUZZ_PARENT="$parent" FUZZ_FACTS="$facts" ${TRACE:+FUZZ_TRACE=1} "$build/fuzz/replay" "$@"
}

# shared_with WORK: words of vm.sh, into "shared", for the folder, and with QEMU for
# memory that is the file "last" in it
shared_with()
{
	if [ "$flavour" = uml ]; then
		shared=(--writable "$1")
		return
	fi
	shared=(--qemu "-fsdev local,id=fuzz,path=$1,security_model=none"
		--qemu "-device virtio-9p-pci,fsdev=fuzz,mount_tag=fuzz"
		--qemu "-object memory-backend-file,id=last,size=1M,share=on,mem-path=$1/last"
		--qemu "-device ivshmem-plain,memdev=last")
}

# run_fuzz PARENT SECONDS FOLDER WORD...: libFuzzer in a machine, where the words of
# vm.sh say, with FOLDER for what it finds
run_fuzz()
{
	local parent=$1 seconds=$2 work=$3 shared

	shift 3
	rm -rf "$work/found" "$work/cover"
	mkdir -p "$work/corpus" "$work/found"
	truncate -s 0 "$work/last"
	truncate -s 1M "$work/last"
	shared_with "$work"
	# With one CPU nobody waits for another one, which a busy host may not run. What
	# leaks is looked for when the corpus is replayed
	"$top/harness/vm.sh" --flavour "$flavour" --smp 1 --timeout $((seconds + 300)) "$@" \
		--append "$words kmemleak=off" "${shared[@]}" -- "$top/harness/fuzz-guest.sh" \
		"$build/fuzz/fuzz" "$parent" "$seconds" "$corpus" "$work" "$facts"
}
