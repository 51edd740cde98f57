#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The platform IOMMU as the translator of a vDPA device: bind virtio devices on
# the PCI bus to vp_vdpa, and run a command on what vhost-vdpa makes of them.
#
#   vp_vdpa.sh PCI-ADDRESS... [-- COMMAND]
#
# COMMAND (./vhost_vdpa -k -d) is given the character device as one more word,
# and the device's name on the vdpa bus in $VDPA_DEV. The devices must not be in
# use: they need an IOMMU of their own and virtio's ACCESS_PLATFORM, as QEMU's
# "-device intel-iommu,snoop-control=on -device virtio-blk-pci,iommu_platform=on"
# gives them. They are back with their driver at the end.

ksft_skip=4
cd "$(dirname "$0")" || exit 1

skip()
{
	echo "SKIP: $*"
	exit $ksft_skip
}

pci=() command=(./vhost_vdpa -k -d)
while [ $# != 0 ]; do
	[ "$1" = -- ] && { shift; command=("$@"); break; }
	pci+=("$1")
	shift
done
[ ${#pci[@]} != 0 ] || skip "name virtio PCI devices to use (see the first lines)"
[ "$(id -u)" = 0 ] || skip "not root"
command -v vdpa >/dev/null || skip "no vdpa tool (iproute2)"
modprobe -a vp_vdpa vhost_vdpa || skip "no vp_vdpa or no vhost_vdpa"

bus=/sys/bus/pci
give()	# ADDRESS DRIVER: hand the device to this driver, or to any ("")
{
	[ ! -e "$bus/devices/$1/driver" ] ||
		echo "$1" >"$bus/devices/$1/driver/unbind"
	echo "$2" >"$bus/devices/$1/driver_override"
	echo "$1" >$bus/drivers_probe
}

taken=''
give_back()
{
	[ "$taken" ] || return 0
	[ ! -e "/sys/bus/vdpa/devices/$VDPA_DEV" ] || vdpa dev del "$VDPA_DEV"
	give "$taken" ''
	taken=''
}
# What is interrupted ends with it
trap give_back EXIT
trap 'exit 130' HUP INT TERM

result=0
for address in "${pci[@]}"; do
	if [ ! -e "$bus/devices/$address/iommu_group" ]; then
		[ $result = 0 ] || exit $result
		skip "no IOMMU has $address"
	fi
	VDPA_DEV=vp-${address##*:}
	export VDPA_DEV
	taken=$address
	give "$address" vp-vdpa
	node=
	if vdpa dev add name "$VDPA_DEV" mgmtdev "pci/$address"; then
		path=/sys/bus/vdpa/devices/$VDPA_DEV
		[ ! -e "$path/driver" ] || echo "$VDPA_DEV" >"$path/driver/unbind"
		echo "$VDPA_DEV" >/sys/bus/vdpa/drivers/vhost_vdpa/bind
		node=$(echo "$path"/vhost-vdpa-*)
	fi
	if [ -e "/dev/${node##*/}" ] && [ "$node" ]; then
		echo "# $VDPA_DEV: ${command[*]} /dev/${node##*/}"
		"${command[@]}" "/dev/${node##*/}" || result=1
	else
		echo "FAIL: $address makes no vDPA device"
		result=1
	fi
	give_back
done
exit $result
