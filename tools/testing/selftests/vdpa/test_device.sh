#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# All tests for a vDPA device of yours, which must be bound to vhost_vdpa and in
# nobody's use:
#
#   test_device.sh [-r] [-n] [-k] [-b] [-p] [-q] /dev/vhost-vdpa-N
#
# The tests overwrite the first sectors of a disk, and send frames on the wire.
# Options are those of ./vhost_vdpa. With -r, the device is bound to virtio-vdpa
# and back, and what it finds there is tested as well.

cd "$(dirname "$0")" || exit 1

options=() device='' rebind=''
for word; do
	case $word in
	-r) rebind=y options+=("$word") ;;
	-[nkbpq]) options+=("$word") ;;
	-* | '') device=''; break ;;
	*) device=$word ;;
	esac
done
if [ ! "$device" ]; then
	sed -n '/^#   /s/^#   /usage: /p' "$0" >&2
	exit 2
fi

result=0
./vhost_vdpa "${options[@]}" -d "$device" || result=1
if [ "$rebind" ]; then
	# Some systems load no drivers by themselves
	modprobe -qa virtio_vdpa virtio_net virtio_blk
	# The number in the name may be another one each time it is bound
	name=$(basename "$(dirname "$(echo /sys/bus/vdpa/devices/*/"${device##*/}")")")
	./handover "${options[@]}" -d "$device" || result=1
	node=$(basename "$(echo "/sys/bus/vdpa/devices/$name"/vhost-vdpa-*)")
	echo "# $name is /dev/$node now"
fi
exit $result
