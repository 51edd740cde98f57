#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels, last
# The tests find the bug that the next person puts in: each mutant breaks the
# series in one way, and must make the test fail that it names, or the kernel
# complain. See harness/mutants-lib.sh.
#
# These are about the tests, and come after all that is about the series. On a slow
# machine none begins later than UNTIL minutes (75) after make was started. Those that were
# not tried are named, and not counted. Each day the list begins with others.

. "$(dirname "$0")/check-lib.sh"
. "$top/harness/mutants-lib.sh"
. "$top/harness/selftests-lib.sh"
: "${UNTIL:=75}"

# found MUTANT FLAVOUR
found()
{
	local test fails quick=-q tap=$log/check/${1##*/}.tap code source=$build/mutant-$2-$place
	local machine=(--mlx5) disk_machine disk pci=''

	disk=$(mutant_key "$1" Disk)
	if [ "$disk" ]; then
		use_disk "${1##*/}.disk" "$disk"
		machine=("${disk_machine[@]}")
		pci="VDPA_PCI=$disk_address "
	fi
	[ "$(mutant_key "$1" Leaks)" ] || machine+=(--no-kmemleak)
	test=$(mutant_key "$1" Test)
	# As in the check that is to find it
	! is_about_races "$test" || machine+=(--at-once)
	fails=$(mutant_key "$1" Fails)
	[ ! "$(mutant_key "$1" Whole)" ] || quick=''
	build_mutant "$2" "$1" "$source"
	code=0
	run_mutant "$@" || code=$?
	cat "$tap"
	is_found "$@" && return
	seems_to_hang "$1" "$tap" || return
	code=0
	run_mutant "$@" || code=$?
	cat "$tap"
	is_found "$@"
}

# is_found MUTANT: found()'s, which knows the rest
is_found()
{
	case $fails in
	panic*) [ "$code" = 99 ] && grep -q "${fails#panic }" "$tap" ;;
	*) grep -q "^not ok .* $fails\$" "$tap" || died "$1" "$tap" "$fails" ;;
	esac
}

# run_mutant MUTANT FLAVOUR: found()'s, too
run_mutant()
{
	"$top/harness/vm.sh" --flavour "$2" --modules "$source-mods" "${machine[@]}" \
		--timeout 600 \
		--append sysctl.kernel.hung_task_timeout_secs=20 \
		--append sysctl.kernel.hung_task_check_interval_secs=2 \
		--append sysctl.kernel.panic_on_rcu_stall=1 -- \
		"$pci$(mutant_command "$test $quick" "$fails")" >"$tap" 2>&1
}

# died MUTANT TAP FAILS: of it, in this test, before it had an end
died()
{
	grep -q '^FAILED: the kernel complained' "$2" && grep -q "^# *RUN  *$3 " "$2" &&
		! seems_to_hang "$1" "$2"
}

# seems_to_hang MUTANT TAP: on a busy host anything may, unless the bug is known for it
seems_to_hang()
{
	[ ! "$(mutant_key "$1" Hangs)" ] &&
		grep -qE '^FAILED: the kernel complained: (INFO: task|detected .*stall)' "$2"
}

# mutant_command "PROGRAM OPTIONS" FAILS: the one test, if one is named
mutant_command()
{
	case $2 in
	panic*) echo "$build/selftests/$1" ;;
	*) echo "$build/selftests/$1 -t $2" ;;
	esac
}

# Each fix has a mutant that takes its effect away, or a reason to have none
accounted_for()
{
	local topic patch mutant known bad=''

	known=$(cat "$patches/without-mutant"
		for mutant in $(all_mutants); do
			mutant_key "$mutant" For
			mutant_key "$mutant" Undo
		done)
	for topic in $(list "$patches/series" | grep ^fixes-); do
		for patch in $(list "$patches/$topic/series"); do
			subject_of "$patches/$topic/$patch" | grep -vFx "$known" || continue
			bad=y
		done
	done
	[ ! "$bad" ] || echo '(no mutant, and no reason in without-mutant)'
	[ ! "$bad" ]
}

if [ -e "$patches/without-mutant" ]; then
	check "mutants: each fix has one, or a reason to have none" accounted_for
fi
# by_source: those of one source follow each other, so that no other one is compiled anew
by_source()
{
	local mutant

	while read -r mutant; do
		printf '%s %s\n' "$(sed -n '/^File: /{s///p; q}' "$mutant")" "$mutant"
	done | sort | sed 's/.* //'
}

mapfile -t mutants < <(all_mutants | by_source)
first=$(($(date +%-j) * 50 % ${#mutants[@]}))
left=0
for mutant in "${mutants[@]:first}" "${mutants[@]::first}"; do
	if [ $(($(date +%s) - STARTED)) -gt $((UNTIL * 60)) ]; then
		echo "# not tried: $(mutant_key "$mutant" What)"
		left=$((left + 1))
		continue
	fi
	flavour=$(mutant_key "$mutant" Flavour)
	beside_once "$(whole_state "$(digest <"$mutant")")" \
		"mutants: $(mutant_key "$mutant" What)" found "$mutant" "${flavour:-fast}"
done
wait
[ $left = 0 ] ||
	echo "# $left of ${#mutants[@]} mutants were not tried: $UNTIL minutes were over"
