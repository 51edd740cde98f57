#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# soak.sh [PARENT]...: hand-over, kill, delete, hot-plug and reset under traffic, again
# and again in one machine for each parent, or these: whether anything that is in use
# grows. What it prints ends with "N rounds, N leaks", and is in out/<base>, too.
# What is one round: see soak-guest.sh.
#
# ROUNDS   how many for each parent (1000, or with HOURS as many as there is time for)
# HOURS    how long all of it may take
# FLAVOUR  of the kernel (fast); debug counts objects, and looks for leaked memory, too
# MUTANT   a planted bug (see mutants-lib.sh), which should be found

. "$(dirname "$0")/mutants-lib.sh"

flavour=${FLAVOUR:-fast}
parents=('vdpa_sim net set_map' 'vdpa_sim net dma_map' 'vdpa_sim blk set_map' 'mlx5 net' 'VDUSE blk')
name=soak-$flavour${1:+-${1// /-}}${MUTANT:+-mutant}
[ $# = 0 ] || parents=("$@")
rounds=${ROUNDS:-1000} seconds=$((7 * 24 * 3600))
if [ "${HOURS:-}" ]; then
	rounds=${ROUNDS:-1000000}
	seconds=$(awk -v hours="$HOURS" -v jobs="$jobs" -v parents=${#parents[@]} \
		'BEGIN { print int(3600 * hours / int((parents + jobs - 1) / jobs)) }')
fi

lock_build
"$top/harness/build-selftests.sh" >/dev/null
machine=()
if [ "${MUTANT:-}" ]; then
	build_mutant "$flavour" "$MUTANT" "$build/mutant-$flavour-soak"
	machine=(--modules "$build/mutant-$flavour-soak-mods")
fi
work=$build/$name
rm -rf "$work"
mkdir -p "$work" "$out"

# variant PARENT: as the selftests call it
variant()
{
	case $1 in
	'vdpa_sim '*) tr ' ' _ <<<"${1#vdpa_sim }" ;;
	'mlx5 net') echo net_mlx5 ;;
	'VDUSE blk') echo vduse_blk ;;
	*) die "no such parent: $1" ;;
	esac
}

soak()
{
	local file=$work/${1// /-}

	step "$1"
	"$top/harness/vm.sh" --flavour "$flavour" --mem 2G "${machine[@]}" --mlx5 --append dma_debug=off \
		--timeout $((seconds + 3600)) -- "$top/harness/soak-guest.sh" \
		"$build/selftests" "$(variant "$1")" "$rounds" "$seconds" \
		>"$file" 2>"$file.err" || echo "$1" >>"$work/failed"
}

# result PARENT: of it; what the kernel says of its memory comes after the guest's end
result()
{
	local file=$work/${1// /-}

	if grep -q ' rounds and [0-9]* of races in ' "$file"; then
		echo "$1: $(grep -v '^@ ' "$file")"
	else
		sed -n 's/^@ //p' "$file" | awk -v parent="$1" '
			/^in use$/ { amounts = ""; next }
			/^[0-9]+ rounds, / { rounds = $0; next }
			{ amounts = amounts $0 "\n" }
			END {
				print parent ": no end was seen, but " rounds "; in use until then:"
				printf "%s", amounts
			}'
	fi
	sed -n 's/^| unreferenced/LEAK: unreferenced/p; /^FAILED/p' "$file.err"
}

for parent in "${parents[@]}"; do
	variant "$parent" >/dev/null
done
each soak "${parents[@]}"
{
	echo "$base, $flavour kernel${MUTANT:+ with ${MUTANT##*/}}"
	for parent in "${parents[@]}"; do
		result "$parent"
	done
} >"$out/$name.txt"
cat "$out/$name.txt"
awk '/ rounds and [0-9]+ of races in / { sub(/^.*: /, ""); rounds += $1 }
	/^ *LEAK: / { leaks++ }
	END { print rounds + 0 " rounds, " leaks + 0 " leaks" }' "$out/$name.txt"
[ ! -e "$work/failed" ]
