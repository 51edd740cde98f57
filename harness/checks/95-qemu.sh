#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# What uses the kernel, if this base names something: its series applies and builds, its
# unit tests pass, and a guest whose driver is bound anew says nothing of its memory. These
# are checks of make test BASE=qemu, which has more.

. "$(dirname "$0")/check-lib.sh"

# gone CONSUMER: nothing of the kernel depends on how long an archive keeps its consumer's
# source. That nothing was checked is said, and not counted. Any other error is one of the
# check.
gone()
{
	local file=$log/check/$1-source

	! env -u BASE_TREE BASE="$1" "$top/harness/source-package.sh" >"$file" 2>&1 &&
		sed -n "/ any more: /s/^FAILED: /# $1: not checked: /p" "$file" | grep .
}

# quick CONSUMER: each of its checks counts. The kernel of its guest is ours, and a tree
# that is named is of a kernel.
quick()
{
	local passed

	env -u BASE_TREE BASE="$1" KERNEL_BASE="$kernel" "$top/harness/test.sh" series quick
	passed=$(grep -c pass "$top/build/$1/log/check/tally")
	seq "$passed" | sed 's/.*/pass/' | tee -a "$TALLY" >"$COUNT"
}

consumer=$(base_key consumer)
kernel=$name
[ -z "$consumer" ] || gone "$consumer" ||
	check "$consumer: its series applies and builds, and leaves the guest's memory alone" \
		quick "$consumer"
