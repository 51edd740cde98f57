#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What QEMU tells a vDPA device of its guest's memory, in each step of the guest's
# life: QEMU as it comes on the unpatched kernel, QEMU with the series on the unpatched
# kernel, where it has to say the same, and QEMU with the series on ours. Frames move all
# the time. After that, for how long a device is down in a migration of guests of
# different sizes.
#
# CASES    which ones: SCENARIO of migrate-guest.py, or SCENARIO,OPTION... Those on mlx5_vdpa
#          are run on our kernel only: the model of its firmware refuses QEMU's memory as the
#          unpatched driver describes it. Their clock is the host's, and no time is told: with
#          one that counts instructions, four processors take an hour.
# SIZES    of these guests, in MiB; the cases have 128, so that "life" has this size too
# ICOUNT   "no": the clock of the guest is the host's, and the times mean little; faster

. "$(dirname "$0")/migrate-lib.sh"
lock_all

need plots
read -ra cases <<<"${CASES-life life,mlx5,mq=4}"
read -ra sizes <<<"${SIZES-512 2048}"
clock=--icount
[ "${ICOUNT:-}" != no ] || clock=
# There are two guests of this size at a time
most=$(printf '%s\n' "${sizes[@]}" 128 | sort -n | tail -n 1)
OUTER_MEM=$((most * 2 + 1500))M
TIMEOUT=${TIMEOUT:-1800}

# use_case CASE: $runs are what it is run with
use_case()
{
	case $1 in
	*,mlx5*)
		runs=(stock-ours ours-ours)
		VM_OPTIONS='--mlx5 --mlx5'
		;;
	*)
		runs=(stock-unpatched ours-unpatched ours-ours)
		VM_OPTIONS=$clock
		;;
	esac
}

# queues CASE: how many the guest has for its frames
queues()
{
	local pairs

	pairs=$(sed -nE 's/.*,mq=([0-9]+).*/\1/p' <<<"$1")
	echo $((2 * ${pairs:-1}))
}

problem()
{
	echo "FAILED: $*"
}

# row RUN CASE STEP
row()
{
	local file=$1-$2 down

	down=$(value "$file" "$3" down)
	case $2 in *,mlx5*) down=- ;; esac
	printf '| %-13s | %-16s | %14s | %6s | %7s | %9s | %-14s |\n' "$3" "${1/-/, }" \
		"$(value "$file" "$3" map)/$(value "$file" "$3" unmap) ($(value "$file" "$3" mib))" \
		"$(value "$file" "$3" other_map)/$(value "$file" "$3" other_unmap)" \
		"$(value "$file" "$3" pins)" "$down" \
		"$(value "$file" "$3" sent)/$(value "$file" "$3" lost)/$(value "$file" "$3" twice)"
}

table()
{
	local step run

	echo "$1: messages are map/unmap (MiB mapped), frames are sent/lost/twice"
	echo
	echo '| step          | QEMU, kernel     | for RAM        | others | pinned  | down, ms  | frames         |'
	echo '| ---           | ---              | ---:           | ---:   | ---:    | ---:      | ---            |'
	sed -n 's/^step \([^ ]*\).*/\1/p' "$results/ours-ours-$1" | awk '!seen[$0]++' |
		while read -r step; do
			for run in "${runs[@]}"; do
				row "$run" "$1" "$step"
			done
		done
	echo
}

# What has to be true of it
judge()
{
	local step run

	[ "${runs[1]}" != ours-unpatched ] || same_messages "$1" >"$results/diff-$1" ||
		problem "$1: on the unpatched kernel the two say something else"
	for step in unbind bind reboot shadow cancel shadow_again source_stops; do
		! grep -q "^step $step " "$results/ours-ours-$1" || silent "ours-ours-$1" "$step" ||
			problem "$1: $step has messages for the guest's RAM"
	done
	for run in "${runs[@]}"; do
		no_loss "$run-$1" || problem "$1: $run: frames are lost, or come twice"
		all_queues "$run-$1" "$(queues "$1")" || problem "$1: $run: a queue stands still"
	done
}

# of_device RUN: how long the device is down in a migration
of_device()
{
	awk -v a="$(value "$1" source_stops down)" -v b="$(value "$1" target_starts down)" \
		'BEGIN { printf "%.2f", a + b }'
}

# total RUN: of the downtime
total()
{
	sed -n 's/^downtime .*all=//p' "$results/$1"
}

size_head()
{
	echo "A migration, ms: the device at both ends, and the whole downtime"
	echo
	echo '| guest MiB | device   | ours     | all      | ours     |'
	echo '| ---:      | ---:     | ---:     | ---:     | ---:     |'
}

# size_row MIB CASE
size_row()
{
	local stock=stock-unpatched-$2 ours=ours-ours-$2

	printf '| %9s | %8s | %8s | %8s | %8s |\n' "$1" "$(of_device "$stock")" \
		"$(of_device "$ours")" "$(total "$stock")" "$(total "$ours")"
	echo "$1 $(of_device "$stock") $(of_device "$ours")" >>"$out/downtime.tsv"
}

# extrapolate MIB: what a guest of this size would take, by the straight lines through the
# smallest and the largest one that were measured: the work is for pages, one by one
extrapolate()
{
	awk -v mib="$1" '
		NR == 1 || $1 < low { low = $1; stock_low = $2; ours_low = $3 }
		$1 > high { high = $1; stock = $2; ours = $3 }
		END {
			if (low == high)
				exit
			n = (mib - low) / (high - low)
			stock = stock_low + n * (stock - stock_low)
			ours = ours_low + n * (ours - ours_low)
			printf "| %8d* | %8.2f | %8.2f | %8s | %8s |\n", mib, stock, ours, "-", "-"
			print "\n* by extrapolation of the two columns, not measured"
			printf "%d %.2f %.2f\n", mib, stock, ours >FILE
		}' FILE="$out/extrapolated.tsv" "$out/downtime.tsv"
}

plot()
{
	gnuplot <<-EOF
		set logscale xy
		set xlabel "memory of the guest (MiB)"
		set ylabel "ms"
		set title "Stopping the device at the source of a migration and starting it at the target"
		set key left top
		set grid
		set yrange [0.1:*]
		set style data linespoints
		do for [type in "svg png"] {
			set terminal type size 800,500
			set output "$out/downtime.".type
			plot "$out/downtime.tsv" using 1:2 title "QEMU as it comes, unpatched kernel", \
				"" using 1:3 title "QEMU with the series, our kernel", \
				"$out/extrapolated.tsv" using 1:2 with points pointtype 6 linecolor 3 \
					title "extrapolated, not measured", \
				"" using 1:3 with points pointtype 6 linecolor 3 notitle
		}
	EOF
}

make_guest
: >"$out/downtime.tsv"
: >"$out/extrapolated.tsv"
{
	for case in "${cases[@]}"; do
		IFS=, read -ra words <<<"$case"
		use_case "$case"
		for run in "${runs[@]}"; do
			run "$run" "$case" "${words[@]}"
		done
		table "$case"
		judge "$case"
	done
	case " ${cases[*]} ${sizes[*]}" in *" life "* | *[0-9]) size_head ;; esac
	case " ${cases[*]} " in *" life "*) size_row 128 life ;; esac
	for size in "${sizes[@]}"; do
		case=migrate,mem=${size}M
		use_case "$case"
		for run in stock-unpatched ours-ours; do
			run "$run" "$case" migrate "mem=${size}M"
			no_loss "$run-$case" ||
				problem "$size MiB: $run: frames are lost, or come twice"
		done
		size_row "$size" "$case"
	done
	[ "$(wc -l <"$out/downtime.tsv")" -lt 2 ] || extrapolate $((64 * 1024))
} >"$out/migrate.txt"
[ ! -s "$out/downtime.tsv" ] || plot
cat "$out/migrate.txt"
! grep -q FAILED "$out/migrate.txt"
