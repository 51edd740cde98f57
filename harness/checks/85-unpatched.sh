#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The selftests on the modules of the base. What an old client depends on must
# pass there as it does on ours: "as before" is measured, not asserted. What is
# skipped or fails there is listed, so that each test has been seen to notice
# the kernel that lacks the series.

. "$(dirname "$0")/check-lib.sh"

expected=$patches/expected-unpatched

# The name of each test, and what became of it, in any order
results()
{
	# 6.1 gives no name in the line of a skipped test
	awk '/^#  RUN / { name = $3 }
	     /^ok .* # SKIP / { print name, "skip"; next }
	     /^ok / { print name, "pass"; next }
	     /^not ok / { print name, "fail" }' "$@" | sort
}

as_expected()
{
	local tap=$log/check/unpatched.tap

	"$top/harness/vm.sh" --unpatched --timeout 900 -- \
		"echo 'install vduse false' >/etc/modprobe.d/vduse.conf
		$build/selftests/vhost_vdpa; $build/selftests/handover
		$build/selftests/map_path; true" >"$tap"
	results "$tap" >"$log/check/unpatched"
	# The variants of the simulator do not differ. There is no PCI device
	# for mlx5_vdpa, and VDUSE hangs.
	grep -v 'mlx5\|vduse' "$log/check/unpatched" |
		sed 's/^\([^.]*\)\.[^.]*\./\1.*./' | sort -u |
		diff "$expected" -
}

check "unpatched: each test passes, fails or is skipped there as listed" as_expected
