#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# What uses the kernel, if this base names something: its series applies and builds, its
# unit tests pass, and a guest whose driver is bound anew says nothing of its memory. These
# are checks of make test BASE=qemu, which has more.

. "$(dirname "$0")/other-lib.sh"

other consumer "its series applies and builds, and leaves the guest's memory alone" series quick
