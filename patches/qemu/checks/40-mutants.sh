#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# Each mutant breaks the series in one way, and must make the case of migrate-lib.sh fail
# that it names, for the reason that it names. See harness/mutants-lib.sh for its form.

. "$(dirname "$0")/../../../harness/checks/check-lib.sh"
. "$top/harness/mutants-lib.sh"
. "$patches/migrate-lib.sh"

# Not those of the other checks
results=$build/migrate-mutants
mkdir -p "$results"

# plant MUTANT FILE: QEMU with the bug; the tree is as it was after that
plant()
{
	tree_untouched
	trap 'gt checkout -q -f vdpa-persist' EXIT
	"$top/harness/mutant.py" "$1" "$tree"
	PYTHONPATH=$build/tools/usr/lib/python3/dist-packages \
		ninja -C "$build/obj" qemu-system-x86_64 tests/unit/test-vhost-svq
	cp "$build/obj/qemu-system-x86_64" "$2"
}

# found MUTANT
found()
{
	local case output=$log/check/${1##*/}.output

	plant "$1" "$build/mutant-qemu"
	eval "case=($(mutant_key "$1" Test))"
	if QEMU=$build/mutant-qemu "${case[@]}" >"$output" 2>&1; then
		echo "it passes"
		return 1
	fi
	cat "$output"
	grep -qxF "$(mutant_key "$1" Fails)" "$output"
}

# See 20-commits.sh
exec 5>"$build/tree.lock"
flock 5
while read -r mutant; do
	beside_once "$(whole_state "$(digest <"$mutant")")" \
		"mutants: $(mutant_key "$mutant" What)" found "$mutant"
	wait
done < <(all_mutants)
