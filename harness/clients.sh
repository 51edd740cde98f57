#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Programs that know nothing of the series, from Debian's packages, on our
# modules and on the unpatched ones: they must see the same, and leave nothing.
#
# CLIENTS   which ones (iproute2 storage_daemon testpmd); the first is quick
# FLAVOUR   of the kernel (fast)
# SELFTESTS  the folder with the selftests, if they are built already

. "$(dirname "$0")/lib.sh"

read -ra clients <<<"${CLIENTS:-iproute2 storage_daemon testpmd}"
flavour=${FLAVOUR:-fast} selftests=${SELFTESTS:-}
work=$build/clients
mkdir -p "$out" "$work"

need vdpa:iproute2 gcc:gcc make:make /usr/include/stdio.h:libc6-dev
case " ${clients[*]} " in *' storage_daemon '*)
	need qemu-storage-daemon:qemu-system-common ;;
esac
case " ${clients[*]} " in *' testpmd '*)
	need dpdk-testpmd:dpdk-dev
	need /usr/share/doc/librte-net-virtio23:librte-net-virtio23 ;;
esac

if [ -z "$selftests" ]; then
	selftests=$work/selftests
	logged clients-headers make -C "$tree" O="$(obj_dir "$flavour")" \
		ARCH=x86_64 INSTALL_HDR_PATH="$work/headers" headers_install
	logged clients-build make -C "$tree/tools/testing/selftests/vdpa" \
		OUTPUT="$selftests" KHDR_INCLUDES="-isystem $work/headers/include"
fi

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
		"$top/harness/vm.sh" --flavour "$flavour" --timeout "${TIMEOUT:-900}" \
			"${option[@]}" "$top/harness/clients-guest.sh $selftests $client" \
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
