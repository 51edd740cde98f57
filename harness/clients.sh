#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Programs that know nothing of the series, from Debian's packages, on our
# modules and on the unpatched ones: they must see the same, and leave nothing.
#
# CLIENTS   which ones (iproute2 storage_daemon testpmd qemu qemu_mlx5); the first is quick
# FLAVOUR   of the kernel (fast)

. "$(dirname "$0")/lib.sh"

read -ra clients <<<"${CLIENTS:-iproute2 storage_daemon testpmd qemu qemu_mlx5}"
flavour=${FLAVOUR:-fast}
work=$build/clients
image=$(obj_dir "$flavour")/arch/x86/boot/bzImage
mkdir -p "$out" "$work"

need vdpa:iproute2
case " ${clients[*]} " in *' storage_daemon '*)
	need qemu-storage-daemon:qemu-system-common ;;
esac
case " ${clients[*]} " in *' testpmd '*)
	need dpdk-testpmd:dpdk-dev
	need /usr/share/doc/librte-net-virtio23:librte-net-virtio23 ;;
esac

"$top/harness/build-selftests.sh" >/dev/null
passed=0 failed=0
result()
{
	echo "$1: $2" | tee -a "$out/clients.txt"
	case $1 in pass) passed=$((passed + 1)) ;; *) failed=$((failed + 1)) ;; esac
}

: >"$out/clients.txt"
for client in "${clients[@]}"; do
	for kind in ours unpatched; do
		option=()
		[ $kind = ours ] || option=(--unpatched)
		step "$client, $kind"
		"$top/harness/vm.sh" --flavour "$flavour" --mlx5 --timeout "${TIMEOUT:-900}" "${option[@]}" -- \
			"$top/harness/clients-guest.sh" "$build/selftests" "$image" "$client" \
			>"$work/$client-$kind.out" 2>"$work/$client-$kind.err" || {
			result FAIL "$client, $kind: $(tail -n 1 "$work/$client-$kind.err")"
			continue
		}
		grep "^$client: " "$work/$client-$kind.out" >"$work/$client-$kind" || true
		if ! grep -q "^$client: 0 pages left pinned" "$work/$client-$kind"; then
			result FAIL "$client, $kind: pages left pinned"
		fi
	done
	if [ ! -s "$work/$client-ours" ] || [ ! -s "$work/$client-unpatched" ]; then
		continue
	fi
	if diff "$work/$client-unpatched" "$work/$client-ours" >"$work/$client.diff"; then
		result pass "$client: the same on both, nothing left pinned"
		sed "s/^/    /" "$work/$client-ours" >>"$out/clients.txt"
	else
		result FAIL "$client: not the same (< unpatched, > ours)"
		cat "$work/$client.diff"
	fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
