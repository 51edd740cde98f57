#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Inside the guest of demo.sh: what the example of a client finds, and what
# virtio-vdpa finds after it.
#   demo-guest.sh SELFTESTS SIZE... MLX5_SIZE

set -o pipefail
selftests=$1
shift
mac=52:54:00:12:34:56
ulimit -l unlimited

# use DRIVER: bind the device to it
use()
{
	echo d0 >/sys/bus/vdpa/devices/d0/driver/unbind
	echo d0 >"/sys/bus/vdpa/drivers/$1/bind"
}

client()
{
	"$selftests/persist_example" /dev/vhost-vdpa-* "$1" | sed 's/^/client /'
}

# Send a frame to the device's own address: does it come back?
frame_returns()
{
	local interface

	interface=$(ls /sys/bus/vdpa/devices/d0/virtio*/net)
	ip link set "$interface" up
	ip addr add 10.0.0.1/24 dev "$interface"
	ip neigh add 10.0.0.2 dev "$interface" lladdr $mac
	echo frame >/dev/udp/10.0.0.2/9
	for _ in 1 2 3 4 5; do
		[ "$(cat "/sys/class/net/$interface/statistics/rx_packets")" = 0 ] || {
			echo yes
			return
		}
		sleep 0.2
	done
	echo no
}

modprobe -a mlx5_mock vdpa_sim_net vhost_vdpa virtio_vdpa virtio_net
vdpa dev add name d0 mgmtdev vdpasim_net mac $mac
[ -e /sys/bus/vdpa/drivers/vhost_vdpa/d0 ] || use vhost_vdpa
while [ $# != 1 ]; do
	client "$1" || exit
	shift
done
use virtio_vdpa
echo "handover returns=$(frame_returns)"
vdpa dev del d0
"$selftests/mlx5_bench" reset "$1"
