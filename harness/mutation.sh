#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# How many bugs do the selftests find? N bugs, drawn at random with SEED from the
# lines that the series adds or changes, as many at a time as there are processors.
# A mutant that does not compile is replaced by the next one. It is found if a
# test fails, the kernel complains, or a test does not end. Prints the share that
# is found and the survivors, which are in out/<base>/mutation/.

. "$(dirname "$0")/mutants-lib.sh"
lock_build

number=${N:-20} seed=${SEED:-1}
work=$out/mutation
rm -rf "$work"
mkdir -p "$work"
total=$("$top/harness/mutation.py" "$tree" $((number * 2)) "$seed" "$work")
step "$number of the $total bugs that could be drawn, with SEED=$seed"
"$top/harness/build-selftests.sh" >/dev/null

# programs_for MUTANT: what could notice, and arguments for it
programs_for()
{
	case $(mutant_key "$1" What) in
	drivers/vdpa/mlx5/*) printf '%s\n' mlx5 'vhost_vdpa -t *mlx5*' 'handover -t *mlx5*' ;;
	drivers/vdpa/vdpa_user/*) printf '%s\n' vduse 'vhost_vdpa -t *vduse*' 'handover -t *vduse*' ;;
	drivers/vdpa/virtio_pci/*) printf '%s\n' vp_vdpa ;;
	drivers/virtio/*) printf '%s\n' handover vduse ;;
	*) printf '%s\n' map_path vhost_vdpa handover vduse mlx5 ;;
	esac
}

# command FILE: each program up to its first failure
command_for()
{
	local program

	programs_for "$1" | while read -r program; do
		set -f
		# shellcheck disable=SC2086 # the arguments are words
		set -- $program
		[ ! -x "$build/selftests/$1" ] || {
			printf '%q ' "$build/selftests/$1" -q "${@:2}"
			echo "| sed '/^not ok/q'; "
		}
	done | tr -d '\n'
}

# judged: how many there are already
judged()
{
	find "$work" -name '*.found' -o -name '*.survived' | wc -l
}

# one MUTANT: in the folder of whichever place is free
try_one()
{
	local mutant=$1 name=${1%.mutant} code=0 place source fate

	for ((place = 1; ; place = place % jobs + 1)); do
		exec 8>"$build/mutation-$place.lock"
		! flock -n 8 || break
		sleep 0.2
	done
	[ "$(judged)" -lt "$number" ] || return 0
	source=$build/mutant-fast-$place
	if ! (JOBS=1 build_mutant fast "$mutant" "$source") >"$name.build" 2>&1; then
		echo "does not compile" >"$name.none"
		return
	fi
	"$top/harness/vm.sh" --modules "$source-mods" --mlx5 --timeout 40 -- \
		"$(command_for "$mutant")" >"$name.tap" 2>"$name.err" || code=$?
	if grep -q '^not ok' "$name.tap" || [ $code = 99 ] || hangs "$name"; then
		fate=found
	else
		fate=survived
	fi
	mv "$mutant" "$name.$fate"
	step "$(judged): ${name##*/} $fate"
}

# hangs NAME: nothing was said for half of the time
hangs()
{
	grep -q 'did not end' "$1.err" &&
		[ $(($(date +%s) - $(date -r "$1.tap" +%s))) -gt 20 ]
}

each try_one "$work"/*.mutant
found=$(find "$work" -name '*.found' | wc -l)
for file in "$work"/*.survived; do
	[ ! -e "$file" ] || sed -n 's/^What: /survived: /p' "$file"
done
of=$(judged)
echo "mutation: SEED=$seed, $found of $of found ($((of ? found * 100 / of : 0)) %)"
