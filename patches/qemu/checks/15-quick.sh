#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# What make test of a kernel runs as well, with the check of the series: the unit tests,
# and a guest that boots, has its driver unbound and bound, and reboots.

. "$(dirname "$0")/../../../harness/checks/check-lib.sh"
. "$patches/migrate-lib.sh"

check "qemu: the unit test of the difference of layouts" "$build/test-vhost-vdpa-maps"
check "qemu: the unit test of addresses in shadow virtqueues" "$build/test-vhost-svq"
once "qemu: no message for RAM in unbind, bind, reboot" silent_case rebind '' unbind bind reboot
wait
