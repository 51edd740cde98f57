#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# What it takes more than one parent, another machine or another program to see

. "$(dirname "$0")/check-lib.sh"

# vhost_vdpa on virtio devices behind an IOMMU, which leaves translation to it.
# The network takes frames and returns none. The second disk has packed rings.
platform_iommu()
{
	local disk=$log/check/disk tap=$log/check/iommu.tap kind
	local virtio=iommu_platform=on,disable-legacy=on
	local run=$tree/tools/testing/selftests/vdpa/vp_vdpa.sh test
	# By itself it tries each test with each kind of device, and skips all but these
	test="$build/selftests/vhost_vdpa -t 'client.@(blk|net)_set_map.*'"

	truncate -s 16M "$disk"
	"$top/harness/vm.sh" --flavour debug --timeout 2000 --iommu \
		--qemu "-drive if=none,id=d0,file=$disk,format=raw,snapshot=on" \
		--qemu "-device virtio-blk-pci,drive=d0,$virtio,addr=9" \
		--qemu "-drive if=none,id=d1,file=$disk,format=raw,snapshot=on" \
		--qemu "-device virtio-blk-pci,drive=d1,$virtio,packed=on,addr=b" \
		--qemu "-netdev user,id=n0,restrict=on" \
		--qemu "-device virtio-net-pci,netdev=n0,$virtio,romfile=,addr=a" \
		-- "$run 0000:00:09.0 0000:00:0a.0 -- $test -k -n -d &&
			$run 0000:00:0b.0 -- $test -k -p -d" | tee "$tap"
	for kind in blk:2 net:1; do
		[ "$(grep -c "^ok .*client.${kind%:*}_set_map.persist_1000_resets_under_traffic$" "$tap")" = "${kind#*:}" ]
	done
}

# Tests of callbacks and interrupts, which need a parent that has them
callbacks()
{
	local tap=$log/check/callbacks.tap test

	use_disk disk-callbacks
	"$top/harness/vm.sh" --flavour debug --timeout 300 "${disk_machine[@]}" \
		-- env VDPA_PCI=$disk_address "$build/selftests/leave" \
		-t '*@(callbacks_end_with_their_client|virtqueues_share_an_eventfd)' | tee "$tap"
	for test in callbacks_end_with_their_client virtqueues_share_an_eventfd; do
		grep -q "^ok .*$test$" "$tap"
	done
}

# vhost-vdpa has to know that something translates
no_iommu()
{
	local tap=$log/check/no-iommu.tap test=device_that_nothing_translates_for_is_the_kernels

	use_disk disk-bare bare
	"$top/harness/vm.sh" --flavour debug --timeout 300 "${disk_machine[@]}" \
		-- env VDPA_PCI=$disk_address "$build/selftests/leave" -t "*$test" | tee "$tap"
	grep -q "^ok .*$test$" "$tap"
}

# What the author of a parent runs: every test, on a device that is there already
given_device()
{
	local device=/sys/bus/vdpa/devices/mine home=$build/check-device command

	rm -rf "$home"
	mkdir -p "$home"
	cp "$top/tools/testing/selftests/vdpa/test_device.sh" "$build"/selftests/{vhost_vdpa,handover} "$home"
	command="modprobe -a vdpa_sim_net vhost_vdpa && vdpa dev add name mine \
		mgmtdev vdpasim_net mac 02:00:00:00:00:01 && $home/test_device.sh -q -r \$(basename $device/vhost-vdpa-*)"
	"$top/harness/vm.sh" --timeout 300 -- "$command" | tee "$home/tap"
	[ "$(grep -c '^# Totals: pass:[1-9][0-9]* fail:0 ' "$home/tap")" = 2 ]
}

# Firmware that does not let the kernel own what is on user context 0
old_firmware()
{
	local tap=$log/check/old-firmware.tap

	"$top/harness/vm.sh" --timeout 300 --mlx5 --append mlx5_mock.umem_uid_0=0 -- \
		"$build/selftests/vhost_vdpa" -q -t '*mlx5*' | tee "$tap"
	grep -q '^ok .*net_mlx5.persist_1000_resets_under_traffic$' "$tap"
}

# Its addresses are translated twice
mlx5_iommu()
{
	local tap=$log/check/mlx5-iommu.tap

	"$top/harness/vm.sh" --timeout 600 --mlx5 --iommu -- "$build/selftests/mlx5_stream" |
		tee "$tap"
	grep '^# Totals:.* skip:0 ' "$tap"
}

# As many ranges as pages, in use and across a reset; it says "error" if it fails
single_pages()
{
	local kind commands=''

	for kind in dma_map set_map mlx5; do
		commands+="$build/selftests/map_perf -r 1 ours $kind alias 4096 && "
	done
	"$top/harness/vm.sh" --timeout 300 --mem 4G --mlx5 -- "${commands}echo all"
}

# swept FLAVOUR PARENT...: whatever the parent may fail at fails, at some of the places if
# there are many. The simulator needs the debug kernel's fault injection for that.
swept()
{
	local tap=$log/check/sweep-$1.tap flavour=$1 parent result words

	shift
	words=$*
	"$top/harness/vm.sh" --flavour "$flavour" --mlx5 --timeout 3000 --append dma_debug=off -- \
		"$build/selftests/sweep -q -t 'sweep.@(${words// /|}).parent'" | tee "$tap"
	for parent; do
		result=''
		# The simulator of some bases has no faults
		! list "$patches/expected-nowhere" | grep -qFx "sweep sweep.$parent.parent" ||
			result=' # SKIP .*'
		grep -q "^ok .*sweep.$parent.parent$result$" "$tap"
	done
}

# The longest first. Parents share a machine, but for the one that an IOMMU is for
mapfile -t parents < <("$top/harness/matrix.sh" --parents)
for these in "$(printf '%s\n' "${parents[@]}" | grep -v '^vp_vdpa' | paste -sd ,)" \
	"$(printf '%s\n' "${parents[@]}" | grep '^vp_vdpa')"; do
	once "parents: whoever follows whom finds a device that works (${these//,/, })" \
		env FLAVOUR=debug ROUNDS=1 SIDES=ours "$top/harness/matrix.sh" "$these"
done
once "parents: a failure leaves vdpa_sim in order (sweep)" \
	swept debug net_set_map{,_asid1,_compat} net_dma_map
once "parents: a failure leaves mlx5_vdpa and VDUSE in order (sweep)" \
	swept fast mlx5{,_compat} vduse
once "parents: mappings persist on a platform IOMMU (vp_vdpa, blk and net)" platform_iommu
once "parents: vp_vdpa signals the eventfds that are set, and no others" callbacks
once "parents: vp_vdpa without an IOMMU is not for clients" no_iommu
once "parents: one command tests a device that is there" given_device
once "parents: mlx5_vdpa works with firmware that lets only users own queues" old_firmware
once "parents: mlx5_vdpa behind an IOMMU loses no frame" mlx5_iommu
once "parents: 4 GiB in single pages on vdpa_sim and mlx5_vdpa" single_pages
once "parents: others get the CPU within a millisecond, with 65,536 ranges" \
	env SIDES=ours MIB=256 FIGURES="$log/check/latency" "$top/harness/latency.sh"
once "clients: iproute2 sees no difference" \
	env CLIENTS=iproute2 "$top/harness/clients.sh"
wait
