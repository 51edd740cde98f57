#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# What make test of a kernel runs as well, with the check of the series: the unit tests,
# and guests whose device only takes notes. One boots, has its driver unbound and bound, and
# reboots; one loses RAM while the device is stopped; one has more than the device reaches.
# And that what makes the figures does not get in the way of a run like this one.

. "$(dirname "$0")/../../../harness/checks/check-lib.sh"
. "$patches/migrate-lib.sh"

check "qemu: the unit test of the difference of layouts" "$build/test-vhost-vdpa-maps"
check "qemu: the unit test of addresses in shadow virtqueues" "$build/test-vhost-svq"
once_built "qemu: no message for RAM in unbind, bind, reboot" silent_case rebind '' unbind bind reboot
once_built "qemu: RAM that goes while the device is stopped is unmapped, and what takes its place mapped" \
	unplug_case
for script in migrate releases; do
	once_built "qemu: $script.sh waits for another run" waits_case $script
done
once_built "qemu: a device that can't reach the RAM does not start, until it can" refuse_case
wait
