#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Who can follow whom: the matrix of tools/testing/selftests/vdpa/matrix.c, with
# our modules and with those of the base beside it, into out/<base>/matrix.txt.
#
# ROUNDS   how often each case is tried (2)
# FLAVOUR  of the kernel (fast)
# SELFTESTS  the folder with the selftests, if they are built already

. "$(dirname "$0")/lib.sh"

rounds=${ROUNDS:-2} flavour=${FLAVOUR:-fast}
selftests=${SELFTESTS:-}
work=$build/matrix
address=0000:00:09.0
mkdir -p "$out" "$work"

need gcc:gcc make:make /usr/include/stdio.h:libc6-dev
if [ -z "$selftests" ]; then
	selftests=$work/selftests
	logged matrix-headers make -C "$tree" O="$(obj_dir "$flavour")" \
		ARCH=x86_64 INSTALL_HDR_PATH="$work/headers" headers_install
	logged matrix-build make -C "$tree/tools/testing/selftests/vdpa" \
		OUTPUT="$selftests" KHDR_INCLUDES="-isystem $work/headers/include"
fi

# A disk for vp_vdpa, behind an IOMMU of the platform
truncate -s 16M "$work/disk"
pci=(--iommu --qemu "-drive if=none,id=d0,file=$work/disk,format=raw,snapshot=on"
	--qemu "-device virtio-blk-pci,drive=d0,iommu_platform=on,disable-legacy=on,addr=9")

# run KIND PARENT [OPTION]...: what hangs or oopses must not end all of it, so
# that each parent has a machine of its own
run()
{
	local kind=$1 parent=$2 file

	shift 2
	file=$work/$kind-${parent// /-}
	step "$kind: $parent, $rounds rounds"
	"$top/harness/vm.sh" --flavour "$flavour" --timeout $((300 + 60 * rounds)) \
		"${pci[@]}" "$@" \
		"$selftests/matrix -r $rounds -p '$parent' -P $address" \
		>"$file.out" 2>"$file.err" || true
	grep -a ' | ' "$file.out" | tr -d '\r' | grep -v '^|' >"$file" || true
	if grep -qE 'the kernel complained' "$file.err"; then
		grep -aoE -m 1 'general protection fault|BUG: [^,]*|WARNING: [^ ]*|Kernel panic[^:]*' \
			"$file.err" >"$file.end" || echo 'kernel complained' >"$file.end"
	else
		echo 'not tried: hangs before' >"$file.end"
	fi
}

parents=('vdpa_sim net set_map' 'vdpa_sim net dma_map' 'vdpa_sim blk set_map'
	'vdpa_sim blk dma_map' 'vp_vdpa blk' 'VDUSE blk')
: >"$work/table"
for parent in "${parents[@]}"; do
	run ours "$parent"
	run unpatched "$parent" --unpatched \
		--append sysctl.kernel.hung_task_panic=0
	# The kernel ended with the first line that is not there; later ones
	# were not tried
	awk -F ' [|] ' -v end="$(cat "$work/unpatched-${parent// /-}.end")" '
		NR == FNR { was[$2, $3] = $4; n++; next }
		{
			key = $2 SUBSEP $3
			result = key in was ? was[key] : end
			if (!(key in was) && end !~ /^not tried/)
				end = "not tried: kernel ended before"
			printf "%s | %s | %s | %-12s | %s\n", $1, $2, $3, $4, result
		}' "$work/unpatched-${parent// /-}" "$work/ours-${parent// /-}" \
		>>"$work/table"
done

{
	echo "$base, $flavour kernel, $rounds rounds of each case: ours, and the unpatched modules"
	echo
	printf '%-21s | %-31s | %-18s | %-12s | %s\n' parent hand-over \
		'first owner leaves' ours unpatched
	cat "$work/table"
} >"$out/matrix.txt"
cat "$out/matrix.txt"

expected=$((16 * ${#parents[@]}))
good=$(awk -F ' [|] ' '$4 ~ /^ok *$/' "$work/table" | wc -l)
echo "$good passed, $((expected - good)) failed"
[ "$good" = "$expected" ]
