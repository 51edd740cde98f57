#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Inside the guest of clients.sh: run programs that know nothing of the series.
#   clients-guest.sh SELFTESTS KERNEL MODULES CLIENT...
# A client that boots a guest of its own uses the kernel with the modules.
# Each prints what it saw in lines that begin with its name: these must be the
# same on any kernel, and FAILED is the same on none. The rest of what a program
# says is for a human to look at.

selftests=$1 image=$2 modules=$3
shift 3
ulimit -l unlimited

pins()
{
	echo 1 >/proc/sys/vm/stat_refresh
	awk '/^nr_foll_pin_acquired/ { n += $2 } /^nr_foll_pin_released/ { n -= $2 }
		END { print n }' /proc/vmstat
}

mac=52:54:00:12:34:56

# A simulated network device for vhost-vdpa: sets $node
sim_net()
{
	vdpa dev add name c0 mgmtdev vdpasim_net mac $mac || return
	bind c0 vhost_vdpa
}

bind()	# DEVICE DRIVER
{
	local path=/sys/bus/vdpa/devices/$1

	[ ! -e "$path/driver" ] || echo "$1" >"$path/driver/unbind"
	echo "$1" >"/sys/bus/vdpa/drivers/$2/bind"
	node=/dev/$(basename "$path"/vhost-vdpa-*)
}

# did WHAT COMMAND...: run it, and say whether it did
did()
{
	local what=$1

	shift
	"$@" || what="FAILED: $what"
	echo "$client: $what"
}

iproute2()
{
	local i

	for i in 1 2 3; do
		did "added c$i" vdpa dev add name c$i mgmtdev vdpasim_net mac $mac mtu 1400
	done
	vdpa mgmtdev show | sed 's/^/iproute2: /'
	vdpa -j dev show | sed 's/^/iproute2: /'
	vdpa -j dev config show c2 | sed 's/^/iproute2: /'
	vdpa dev vstats show c2 qidx 0 2>&1 | sed 's/^/iproute2: /'
	for i in 1 2 3; do
		did "deleted c$i" vdpa dev del c$i
	done
	vdpa dev del c1 2>&1 | sed 's/^/iproute2: again: /'
}

# One MiB to part PART of DISK: does it come back, and is it in the file?
write_and_read()
{
	local disk=$1 part=$2 i

	for ((i = 0; i < 50; i++)); do
		[ ! -b /dev/vda ] || break
		sleep 0.1
	done
	head -c 1M /dev/urandom >/tmp/data
	dd if=/tmp/data of=/dev/vda bs=64K seek=$((part * 16)) oflag=direct 2>/dev/null &&
		dd if=/dev/vda bs=64K skip=$((part * 16)) count=16 iflag=direct \
			2>/dev/null | cmp - /tmp/data &&
		cmp -n 1048576 -i $((part << 20)):0 "$disk" /tmp/data
}

# Its library aborts if it is reset with requests in flight
vhost_selftest()
{
	"$selftests/vhost_vdpa" -d "$node" -b >/tmp/vhost 2>/dev/null
}

storage_daemon()
{
	local pid i part disk=/tmp/disk

	modprobe -r vduse
	modprobe vduse
	truncate -s 8M $disk
	qemu-storage-daemon --blockdev driver=file,node-name=f,filename=$disk \
		--export type=vduse-blk,id=e,node-name=f,name=c0,writable=on \
		2>/tmp/storage-daemon &
	pid=$!
	for ((i = 0; i < 100; i++)); do
		[ ! -e /dev/vduse/c0 ] || break
		sleep 0.1
	done
	sleep 1
	did "added" vdpa dev add name c0 mgmtdev vduse

	for part in 0 1; do
		bind c0 virtio_vdpa
		did "virtio-vdpa moved 1 MiB, and it is in the file" write_and_read $disk $part
		bind c0 vhost_vdpa
		did "vhost-vdpa passed the selftest" vhost_selftest
		grep -E '^# Totals|^not ok|Expected' /tmp/vhost
	done
	echo "left: $(readlink /proc/$pid/fd/* | grep -c 'memfd\|/dev/zero') files of clients"
	echo "left: $(grep -c '/dev/zero\|memfd' /proc/$pid/maps) maps of clients"

	did "deleted" vdpa dev del c0
	kill $pid
	wait $pid
	echo "storage_daemon: ended with $?"
}

# Say what testpmd is to do until it has received twice what it has sent first
until_frames_return()
{
	local i

	for ((i = 0; i < 60; i++)); do
		echo "show port stats 0"
		sleep 2
		awk '/RX-packets:.*RX-missed/ { n = $2 } END { exit n < 64 }' /tmp/testpmd &&
			break
	done
}

testpmd()
{
	sim_net || return
	echo 64 >/proc/sys/vm/nr_hugepages
	: >/tmp/testpmd
	{
		# tx_first: a burst that the device returns, to be sent again
		printf 'start tx_first\n'
		until_frames_return
		printf 'stop\nport stop 0\nport start 0\nclear port stats 0\nstart tx_first\n'
		until_frames_return
		printf 'stop\nport stop 0\nquit\n'
	} | timeout 200 dpdk-testpmd -l 0,1 --no-pci --in-memory --iova-mode=va --no-telemetry \
		-m 96 -d librte_net_virtio.so -d librte_mempool_ring.so \
		--vdev "net_virtio_user0,path=$node,mac=$mac" -- \
		-i --total-num-mbufs=2048 --eth-peer=0,$mac >/tmp/testpmd 2>&1
	echo "testpmd: ended with $?"
	# The burst of 32 comes back, is forwarded, and comes back again
	awk '/Forward statistics for port/ { port = 1 }
		port && /RX-packets:/ {
			if ($2 < 64)
				print "testpmd: FAILED:", $2, "frames come back"
			else
				print "testpmd: frames come back, over and over"
			port = 0
			runs++
		}
		END { if (runs != 2) print "testpmd: FAILED: it did not start twice" }' /tmp/testpmd
	grep -E '^Port 0 is closed' /tmp/testpmd | sed 's/^/testpmd: /'
	grep -iE 'virtio_user.*fail|vhost.*fail' /tmp/testpmd | sed 's/^/testpmd: /'
	echo 0 >/proc/sys/vm/nr_hugepages
	did "device deleted" vdpa dev del c0
}

# Boots a guest of its own with $node as its network card, reboots it, and ends
# when it has booted and done its work twice
boot_qemu()
{
	local serial=/tmp/serial pid i

	mount --bind "$modules" /lib/modules
	qemu-system-x86_64 -nodefaults -no-user-config -display none \
		-machine q35 -accel tcg -cpu max -m 128M -kernel "$image" \
		-append "console=ttyS0 quiet panic=-1 root=host rootfstype=9p ro
rootflags=trans=virtio,version=9p2000.L,cache=loose init=${0%/*}/clients-qemu-init" \
		-fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap \
		-device virtio-9p-pci,fsdev=root,mount_tag=host \
		-netdev "vhost-vdpa,id=net,vhostdev=$node" \
		-device "virtio-net-pci,netdev=net,iommu_platform=on,disable-legacy=on,romfile=" \
		-serial file:$serial >/tmp/qemu 2>&1 &
	pid=$!
	for ((i = 0; i < 600; i++)); do
		[ "$(grep -ac '^guest: reboots' $serial)" != 2 ] || break
		[ -e /proc/$pid ] || break
		sleep 1
	done 2>/dev/null
	[ $i != 600 ] || echo "$client: FAILED: it did not reboot twice"
	kill $pid
	wait $pid
	echo "$client: ended with $?"
	tr -d '\r' <$serial | grep -a '^guest: ' | sed "s/^/$client: /"
	# mlx5_vdpa has no state of the control virtqueue once it is reset
	grep -v 'terminating on signal\|VQ 2 ring restore failed' /tmp/qemu |
		sed "s/^/$client: /"
	tail -n 5 $serial
	did "device deleted" vdpa dev del c0
}

qemu()
{
	sim_net && boot_qemu
}

qemu_mlx5()
{
	local pci

	modprobe mlx5_mock && modprobe mlx5_vdpa || return
	pci=$(basename /sys/bus/pci/drivers/mlx5_mock/0000:*)
	vdpa dev add name c0 mgmtdev "pci/$pci" mac $mac &&
		bind c0 vhost_vdpa && boot_qemu
}

modprobe -a vdpa_sim_net vhost_vdpa virtio_vdpa virtio_net virtio_blk
before=$(pins)
for client; do
	echo "== $client"
	$client || echo "$client: FAILED: it has no device"
	echo "$client: $(($(pins) - before)) pages left pinned"
done
