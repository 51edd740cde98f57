#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Everything that must hold: the scripts of harness/checks (or of patches/<base>/checks,
# if there are any), or those of them whose name contains one of the arguments.
# They run at once, with as many checks at a time as there are processors; those
# that need kernels begin when these are built, and those that are last when the others
# have ended.

. "$(dirname "$0")/series-lib.sh"

export TALLY=$log/check/tally
lock_build
rm -rf "$log/check"
mkdir -p "$log/check"
: >"$TALLY"
: >"$log/check/begun"
: >"$log/check/times"
: >"$log/check/announced"
: >"$log/check/told"
"$top/harness/tree.sh"
# What is built is the work tree, what is remembered is of the patches
tree_untouched ||
	die "$tree has work that is not in patches/: make refresh, or set it aside"
"$top/harness/series.sh"

# wanted SCRIPT WORD...
wanted()
{
	local script=${1##*/} word

	shift
	[ $# != 0 ] || return 0
	for word; do
		case $script in *"$word"*) return 0 ;; esac
	done
	return 1
}

needs_kernels()
{
	grep -q '^# Needs: kernels' "$1"
}

is_last()
{
	grep -q '^# Needs: .*last' "$1"
}

# failed WHAT: what no check says of itself
failed()
{
	echo fail >>"$TALLY"
	echo "not ok $(wc -l <"$TALLY") - $1"
}

run()
{
	TIMEFORMAT="%R %U %S ${1##*/}"
	{ time "$1" 2>&3 || {
		failed "${1#"$top"/} could not run"
	}; } 3>&2 2>>"$log/check/scripts"
}

checks=$patches/checks
[ -e "$checks" ] || checks=$top/harness/checks
before=() scripts=() needs=''
for script in "$checks"/[0-9]*.sh; do
	wanted "$script" "$@" || continue
	case ${script##*/} in
	0*) continue ;;
	esac
	scripts+=("$script")
	! needs_kernels "$script" || needs=y
done
[ ! "$needs" ] || before=("$checks"/0*.sh)

for word; do
	case " ${scripts[*]##*/}" in *" "*"$word"*) ;; *) die "no check has $word in its name" ;; esac
done

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
trap 'exit 1' INT TERM
building=()
for script in "${before[@]}"; do
	run "$script" &
	building+=($!)
done
for script in "${scripts[@]}"; do
	needs_kernels "$script" || run "$script" &
done
[ ! "$needs" ] || wait "${building[@]}"
for script in "${scripts[@]}"; do
	needs_kernels "$script" && ! is_last "$script" && run "$script" &
done
wait
for script in "${scripts[@]}"; do
	! is_last "$script" || run "$script" &
done
wait

[ "$(wc -l <"$log/check/announced")" = "$(wc -l <"$log/check/told")" ] ||
	failed "a check has ended without a result: see ${log#"$top"/}/check/{announced,told}"
if ! tree_untouched; then
	# They may have seen something else
	mkdir -p "$build/passed"
	find "$build/passed" -type f -newer "$log/check/begun" -delete
	failed "${tree#"$top"/} was changed meanwhile"
fi

echo
echo "where the time went: seconds of processors, script"
awk '{ printf "%8.0f  %s\n", $2 + $3, $4; sum += $2 + $3 }
     END { printf "%8.0f  in all\n", sum }' "$log/check/scripts" | sort -n
echo "and the longest checks: seconds, check"
# All of it is read: head can end sort while it still writes, and pipefail this script
sort -rn "$log/check/times" | awk 'NR <= 15 { seconds = $1; sub(/^[0-9]+ /, ""); printf "%8d  %s\n", seconds, $0 }'

passed=$(grep -c pass "$TALLY" || true)
failed=$(grep -c fail "$TALLY" || true)
step "done; logs are in ${log#"$top"/}/check"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
