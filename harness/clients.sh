#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Programs that know nothing of the series, from Debian's packages, on our
# modules and on the unpatched ones: they must see the same, and leave nothing.
#
# CLIENTS   which ones (iproute2 storage_daemon testpmd qemu qemu_mlx5); the first is quick
# FLAVOUR   of the kernel (fast)

. "$(dirname "$0")/lib.sh"
lock_build

read -ra clients <<<"${CLIENTS:-iproute2 storage_daemon testpmd qemu qemu_mlx5}"
flavour=${FLAVOUR:-fast}
work=$build/clients-$flavour
# Of the machine that QEMU boots inside the machine
inner=$(obj_dir fast)/arch/x86/boot/bzImage
[ -e "$inner" ] || die "there is no fast kernel: make kernel first"
mkdir -p "$out" "$work"

need vm selftests clients
[ "${clients[*]}" = iproute2 ] || need clients-more

# The unpatched mlx5_vdpa describes QEMU's memory to the firmware in pages of a size of
# which the memory is no multiple. The model of the firmware refuses that, so that QEMU
# on our mlx5_vdpa is compared with QEMU on the unpatched vdpa_sim.
declare -A reference=([qemu_mlx5]=qemu)

"$top/harness/build-selftests.sh" >/dev/null
passed=0 failed=0
result()
{
	echo "$1: $2" | tee -a "$out/clients-$flavour.txt"
	case $1 in pass) passed=$((passed + 1)) ;; *) failed=$((failed + 1)) ;; esac
}

# What no client may say, even if it says so on both sides
bad='FAILED|ended with [1-9]'

# run_client CLIENT KIND: what it says goes to CLIENT-KIND in the work folder
run_client()
{
	local file=$work/$1-$2 option=()

	[ "$2" = ours ] || option=(--unpatched)
	step "$1, $2"
	if ! "$top/harness/vm.sh" --flavour "$flavour" --mem 2G --mlx5 --timeout "${TIMEOUT:-900}" \
		"${option[@]}" -- \
		"$top/harness/clients-guest.sh" "$build/selftests" \
		"$inner" "$build/mods/fast/lib/modules" "$1" \
		>"$file.out" 2>"$file.err"; then
		result FAIL "$1, $2: $(tail -n 1 "$file.err")"
		return 1
	fi
	sed -n "s/^$1: //p" "$file.out" >"$file"
	if grep -qE "$bad" "$file"; then
		result FAIL "$1, $2: $(grep -m 1 -E "$bad" "$file")"
		return 1
	fi
	grep -q '^0 pages left pinned' "$file" || {
		result FAIL "$1, $2: pages left pinned"
		return 1
	}
}

: >"$out/clients-$flavour.txt"
rm -f "$work"/*-unpatched
for client in "${clients[@]}"; do
	base=${reference[$client]:-$client}
	[ -e "$work/$base-unpatched" ] || run_client "$base" unpatched || continue
	run_client "$client" ours || continue
	if diff "$work/$base-unpatched" "$work/$client-ours" >"$work/$client.diff"; then
		result pass "$client: as $base on the unpatched modules, nothing left pinned"
		sed "s/^/    /" "$work/$client-ours" >>"$out/clients-$flavour.txt"
	else
		result FAIL "$client: not as $base on the unpatched modules (<)"
		cat "$work/$client.diff"
	fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
