#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# How many bugs do the selftests find? N bugs, drawn at random with SEED from the
# lines that the series adds or changes, as many at a time as there are processors.
# A mutant that does not compile, or not without a warning of its types, is
# replaced by the next one.
#
# A bug is found if a test fails or is skipped that passes without it, or if the
# kernel dies or complains: of a task that hangs or does not give up the CPU, of
# memory that leaked, of anything. So is one with which the guest takes more than
# twice the CPU time that it takes without, and one that lets others wait for the CPU
# for longer than "make latency" allows. A run that did not end for another
# reason, such as a host that is busy, says nothing and does not count.
#
# Prints the share that is found and the survivors, with what the base's file
# "survivors" says of them. Verdicts are remembered in build/<base>/mutation/. One of
# "found" is valid until the program that found the bug changes, one of "survived"
# until any file in tools/testing does. Changes of the series do not end either.
# FRESH=y forgets all.

. "$(dirname "$0")/mutants-lib.sh"
lock_build

number=${N:-20} seed=${SEED:-1}
work=$out/mutation
known=$build/mutation
[ "${FRESH:-}" != y ] || rm -rf "$known"
rm -rf "$work"
mkdir -p "$work" "$known"
# Other types than the function takes are no bug that reaches a test
export KCFLAGS='-Werror=incompatible-pointer-types -Werror=int-conversion'
total=$("$top/harness/mutation.py" "$tree" $((number * 2)) "$seed" "$work")
step "$number of the $total bugs that could be drawn, with SEED=$seed"
"$top/harness/build-selftests.sh" >/dev/null
disk=$work/disk
truncate -s 16M "$disk"

# programs_for FILE: what could notice, with arguments: what finds most in a second
# comes first. A list takes one to two minutes of a processor.
programs_for()
{
	case $1 in
	drivers/vdpa/mlx5/*)
		cat <<-'EOF'
			mlx5
			mlx5_stream
			reach -t *mlx5.*
			handover -t *mlx5*
			vhost_vdpa -t @(client.net_mlx5.*|spaces.mlx5.*|rings.mlx5.*)
			map_path -t *mlx5*
			failnth -t *mlx5*
		EOF
		;;
	drivers/vdpa/vdpa_user/*)
		cat <<-'EOF'
			vduse -t !(*.exit_does_not_wait_for_ever)
			vduse_deaths
			reach -t *vduse*
			handover -t *vduse*
			vhost_vdpa -t *vduse*
		EOF
		;;
	drivers/vdpa/virtio_pci/*)
		cat <<-'EOF'
			leave -t *.@(callbacks|virtqueues)_*
			vp_vdpa.sh
		EOF
		;;
	drivers/vdpa/vdpa_sim/*)
		cat <<-'EOF'
			leave
			parent_ops
			reach -t *net_?(set|dma)_map.*
			failnth -t failnth.net_*_map.*
			handover -t *net_*_map.*
			vhost_vdpa -t @(spaces.*_map.*|*.net_*_map.*)
			map_path -t @(small|map.dma_map).*
			handover -t *blk_set_map.*
		EOF
		;;
	drivers/virtio/* | drivers/vdpa/vdpa.c)
		cat <<-'EOF'
			leave
			handover -t !(*.blk_*)
			parent_ops
			vduse_deaths
			vhost_vdpa -t *.net_set_map.*
			map_path -t @(small|map.set_map).*
			failnth -t failnth.net_set_map.*
		EOF
		;;
	*)
		cat <<-'EOF'
			leave
			parent_ops
			map_path -t @(small|map.[sd]*).*
			failnth -t mapfail.*.failed_*
			vhost_vdpa -t @(spaces.dma_map.*|rings.dma_map.*|*.net_dma_map_asid1.*|*.vduse*)
			vp_vdpa.sh
			handover -t *.@(vduse_blk|net_set_map).*
			reach -t *.@(vduse_blk|net_dma_map_asid1).*
		EOF
		;;
	esac
}

# group FILE: those with the same programs have the same
group()
{
	programs_for "$1" | digest
}

# digest: of what it is given
digest()
{
	sha256sum | cut -c1-16
}

# commands_for FILE: for the guest, up to the first failure
commands_for()
{
	local program

	cat <<-'EOF'
		t()
		{
			echo "# program ${1##*/}"
			"$@" 2>&1 | awk '
				{ print; fflush() }
				/^1\.\./ { plan = 1 }
				/^(not ok|FAIL)/ { bad = 1; exit }
				END {
					if (!plan && !bad)
						print "FAIL: it does not run"
					exit bad || !plan
				}' || exit 1
		}
	EOF
	! programs_for "$1" | grep -q '^vp_vdpa' || echo "export VDPA_PCI=0000:00:09.0"
	programs_for "$1" | while read -r program; do
		set -f
		# shellcheck disable=SC2086 # the arguments are words
		set -- $program
		case $1 in
		vp_vdpa.sh)
			echo "t $tree/tools/testing/selftests/vdpa/vp_vdpa.sh 0000:00:09.0 0000:00:0a.0" \
				"-- $build/selftests/vhost_vdpa -q -w 60 -k -n -d"
			;;
		*) printf 't '; printf '%q ' "$build/selftests/$1" -q -w 60 "${@:2}"; echo ;;
		esac
	done
	cat <<-'EOF'
		sleep 5
		echo scan >/sys/kernel/debug/kmemleak
		echo scan >/sys/kernel/debug/kmemleak
		cat /sys/kernel/debug/kmemleak >/dev/console
	EOF
}

# run FILE MODS NAME SECONDS: in a guest that has so much CPU time
run()
{
	local machine=(--mlx5) virtio=iommu_platform=on,disable-legacy=on

	if programs_for "$1" | grep -q '^vp_vdpa'; then
		machine+=(--iommu
			--qemu "-drive if=none,id=d0,file=$disk,format=raw,snapshot=on"
			--qemu "-device virtio-blk-pci,drive=d0,$virtio,addr=9"
			--qemu "-netdev user,id=n0,restrict=on"
			--qemu "-device virtio-net-pci,netdev=n0,$virtio,romfile=,addr=a")
	fi
	(
		# Soft: the signal is one that nothing else sends
		ulimit -St "$4"
		exec "$top/harness/vm.sh" --flavour mutation --modules "$2" "${machine[@]}" \
			--append "sysctl.kernel.hung_task_timeout_secs=15 slub_debug=FZP" \
			--timeout 600 -- "$(commands_for "$1")"
	) >"$3.tap" 2>"$3.err"
}

# time_without_bug FILE OUTPUT: on a busy host, a guest can lose a timer and stand still
time_without_bug()
{
	TIMEFORMAT='%U %S'
	{ time run "$1" "$build/mutant-mutation-0-mods" "$work/usual-$(group "$1")" 400; } 2>"$2"
}

# usual FILE: the CPU time that its programs take with the modules as they are
usual()
{
	local name

	name=$known/usual-$(group "$1")-$(gt rev-parse 'refs/vdpa-persist/made^{tree}')-$tests
	(
		flock 7
		if [ ! -e "$name" ] || [ ! -e "$known/skips-$(group "$1")" ]; then
			[ ! -e "$work/usual-$(group "$1").tap" ] ||
				die "the tests of $1 have failed without a bug"
			clean_modules mutation "$build/mutant-mutation-0"
			time_without_bug "$1" "$name.new" || time_without_bug "$1" "$name.new" ||
				die "the tests of $1 fail without a bug" \
					"(see $work/usual-$(group "$1").tap and .err)"
			skipped "$work/usual-$(group "$1").tap" >"$known/skips-$(group "$1")"
			awk '{ print int($1 + $2 + 1) }' "$name.new" >"$name"
			step "the tests of $1 take $(cat "$name") s of CPU time"
		fi
	) 7>"$known/lock-$(group "$1")"
	cat "$name"
}

# skipped TAP: the tests that were
skipped()
{
	sed -n '/^#  RUN /{s/^#  RUN  *\([^ ]*\).*/\1/; h}; /^ok .* # SKIP/{g; p}' "$1" | sort
}

# what_found NAME FILE
what_found()
{
	local skips

	skips=$(comm -13 "$known/skips-$(group "$2")" <(skipped "$1.tap"))
	if grep -q '^not ok\|^FAIL' "$1.tap"; then
		sed -n 's/^#  RUN  *\([^ ]*\).*/\1/p' "$1.tap" | tail -n 1
	elif grep -q "QEMU ended with status $((128 + $(kill -l XCPU)))" "$1.err"; then
		echo "more than twice the CPU time"
	elif grep -q 'FAILED: the guest ended without a status' "$1.err"; then
		echo "the end of the kernel"
	elif [ "$skips" ]; then
		echo "tests that are skipped: ${skips%%$'\n'*}"
	elif grep -q 'FAILED: the kernel complained' "$1.err"; then
		grep -aoE -m 1 'BUG: .*|WARNING: .*|INFO: .*|unreferenced object|Oops.*|panic.*' \
			"$1.err" || echo "a complaint of the kernel"
	fi
}

# judge MUTANT PLACE: prints "found BY", "survived", or "unknown" if the machine did
# not end by itself
judge()
{
	local mutant=$1 place=$2 name=${1%.mutant} source=$build/mutant-mutation-$2
	local file limit by code=0

	file=$(sed -n 's/^File: //p' "$mutant")
	limit=$(usual "$file") || exit
	run "$file" "$source-mods" "$name" $((2 * limit + 10)) || code=$?
	by=$(what_found "$name" "$file")
	if [ "$by" ]; then
		echo "found by $by"
	elif [ $code != 0 ]; then
		echo unknown
	elif ! mutant_key "$mutant" What | grep -q 'left out: cond_resched()'; then
		echo survived
	else
		judge_latency "$mutant" "$place" "$file"
	fi
}

# judge_latency MUTANT PLACE FILE: of one that keeps the CPU, which tests do not see
judge_latency()
{
	local source=$build/mutant-fast-$2 name=${1%.mutant} parents='set_map dma_map vduse'

	case $3 in
	drivers/vdpa/mlx5/*) parents=mlx5 ;;
	drivers/vdpa/vdpa_user/*) parents=vduse ;;
	drivers/vdpa/vdpa_sim/*) parents='set_map dma_map' ;;
	esac
	(JOBS=1 build_mutant fast "$1" "$source") >>"$name.build" 2>&1 || die "$1 does not compile"
	echo "# program latency" >>"$name.tap"
	if SIDES=ours PARENTS=$parents MIB=512 MODULES=$source-mods FIGURES=$name.figures \
		"$top/harness/latency.sh" >"$name.latency" 2>&1; then
		echo survived
	elif grep -q 'takes longer than it may' "$name.latency"; then
		echo "found by latency"
	else
		echo unknown
	fi
}

# remembered MUTANT: "found BY", "survived" or nothing
remembered()
{
	local fate by program digest

	[ -e "$known/$(key "$1")" ] || return 0
	IFS='|' read -r fate program digest by <"$known/$(key "$1")"
	case $fate in
	none) echo none ;;
	found) [ "$digest" != "$(program_digest "$program")" ] || echo "found by $by" ;;
	survived) [ "$digest" != "$tests" ] || echo survived ;;
	esac
}

key()
{
	sed '/^What: /d' "$1" | digest
}

program_digest()
{
	cat "$top/tools/testing/selftests/vdpa/${1%.sh}".* | digest
}

tests=$({
	declare -f programs_for commands_for run
	cd "$top" && find tools/testing -type f -not -name '.*' | sort | xargs cat
} | digest)

# judged: how many there are already
judged()
{
	find "$work" -name '*.found' -o -name '*.survived' | wc -l
}

# conclude MUTANT FATE
conclude()
{
	mv "$1" "${1%.mutant}.${2%% *}"
	step "$(judged): $(basename "$1" .mutant) $2: $(mutant_key "${1%.mutant}.${2%% *}" What)"
}

# try_one MUTANT: in the folder of whichever place is free
try_one()
{
	local mutant=$1 name=${1%.mutant} place source program fate

	for ((place = 1; ; place = place % jobs + 1)); do
		exec 8>"$build/mutation-$place.lock"
		! flock -n 8 || break
		sleep 0.2
	done
	[ "$(judged)" -lt "$number" ] || return 0
	fate=$(remembered "$mutant")
	if [ "$fate" ]; then
		echo "$fate" >>"$work/remembered"
		conclude "$mutant" "$fate"
		return
	fi
	source=$build/mutant-mutation-$place
	if ! (JOBS=1 build_mutant mutation "$mutant" "$source") >"$name.build" 2>&1; then
		# A full disk is no property of the mutant
		! grep -q 'error:' "$log/modules-${source##*/}.log" ||
			echo 'none|||' >"$known/$(key "$mutant")"
		conclude "$mutant" none
		return
	fi
	fate=$(judge "$mutant" "$place") || return 0
	program=$(sed -n 's/^# program //p' "$name.tap" | tail -n 1)
	case $fate in
	found*) echo "found|$program|$(program_digest "$program")|${fate#found by }" ;;
	survived) echo "survived||$tests|" ;;
	esac >"$known/$(key "$mutant").new"
	[ ! -s "$known/$(key "$mutant").new" ] ||
		mv "$known/$(key "$mutant").new" "$known/$(key "$mutant")"
	conclude "$mutant" "$fate"
}

# reason MUTANT: what the list says of it
reason()
{
	[ -e "$patches/survivors" ] || return 0
	KEY=$(mutant_key "$1" Key) awk '
		!/^[#\t]/ { mine = $0 == ENVIRON["KEY"] }
		/^\t/ && mine { sub(/^\t/, ""); print }' "$patches/survivors"
}

each try_one "$work"/*.mutant
found=$(find "$work" -name '*.found' | wc -l) listed=0 equivalent=0
for file in "$work"/*.survived; do
	[ -e "$file" ] || continue
	why=$(reason "$file")
	sed -n 's/^What: /survived: /p' "$file"
	printf '    %s\n' "${why:-not listed}"
	[ -z "$why" ] || listed=$((listed + 1))
	[[ $why != equivalent* ]] || equivalent=$((equivalent + 1))
done
of=$(judged)
echo "of the series $(gt rev-parse --short=12 'refs/vdpa-persist/made^{tree}') on $(date -I)," \
	"$total bugs could be drawn"
[ ! -e "$work/remembered" ] ||
	echo "of these, $(grep -vc none "$work/remembered") had been judged before"
echo "mutation: SEED=$seed, $found of $of found ($((of ? found * 100 / of : 0)) %)," \
	"$((of - found)) survivors, of which $listed are listed, $equivalent as equivalent"
# Fewer are there only if no more can be drawn
[ "$of" -ge "$number" ] || ! compgen -G "$work/*.mutant" >/dev/null ||
	die "not all could be judged (see the .err files in $work)"
