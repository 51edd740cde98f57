#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# What a device is told of the guest's memory, with a device that only takes notes: the
# guest boots, has its driver unbound and bound, reboots, and begins to migrate.

. "$(dirname "$0")/../../../harness/checks/check-lib.sh"
. "$patches/migrate-lib.sh"

once_built "qemu: no message for RAM in unbind, bind, reboot: iommu_platform=on" \
	silent_case rebind iommu_platform unbind bind reboot
once_built "qemu: no message for RAM when a migration starts, and is cancelled" \
	silent_case cancel '' shadow cancel
once_built "qemu: no message for the guest's address space then, if rings have a group" apart_case
once_built "qemu: the same with a control queue" apart_case cvq
once_built "qemu: if that group can't be bound, no message for RAM" bound_case 1
once_built "qemu: nor if that of the control queue can't be bound" bound_case 3 cvq
once_built "qemu: a control queue with its rings in the group of the others is isolated" isolated_case
once_built "qemu: a device that does not start when a migration begins starts later" retry_case
once_built "qemu: the target of a migration maps all but the first MiB before it starts" target_case
once_built "qemu: no message for RAM in unbind, bind, reboot: a device that comes late" \
	silent_case rebind hotplug unbind bind reboot
once_built "qemu: the same with x-svq=on" silent_case rebind svq unbind bind reboot
once_built "qemu: postcopy finds nothing mapped at the target" postcopy_case
for case in rebind cancel; do
	once_built "qemu: without the feature, the messages of the unpatched: $case" same_case $case ''
done
for option in iommu_platform viommu hotplug svq; do
	once_built "qemu: the same with $option, without the feature" same_case rebind $option
done
once_built "qemu: the same with a control queue, and a group for rings" \
	same_case cancel cvq groups
once_built "qemu: the maps of a vIOMMU that the guest uses go in a reset, as with the unpatched" \
	viommu_case
wait
