#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What mlx5_vdpa costs on the model of its firmware, the base's and ours: firmware
# commands, how many of them wait for each other, the time that they would take on silicon
# as the model reckons it, and guest instructions. Tables, and plots of what a hot-plug
# takes.

. "$(dirname "$0")/lib.sh"
lock_build

need plots
"$top/harness/build-selftests.sh" >/dev/null
bench=$build/selftests/mlx5_bench
perf=$build/selftests/map_perf
sizes='64 256 1024' regions='1 10 100 1000' queues='2 8 16 32' gib='1 64'
mkdir -p "$out"

for side in unpatched ours; do
	step "running the modules: $side"
	option=()
	[ "$side" = ours ] || option=(--unpatched)
	# The sizes need more ranges than the base allows by default
	"$top/harness/vm.sh" --icount --mem 4G --mlx5 "${option[@]}" --timeout 900 -- \
		"modprobe vhost_vdpa max_iotlb_entries=65536 &&
		modprobe mlx5_vdpa max_iotlb_entries=65536 &&
		$bench reset $sizes && $bench plug $regions && $bench first-map $gib &&
		echo queues old && $bench queues $queues &&
		echo queues resumable && $bench resumable-queues $queues" \
		>"$out/mlx5.$side" || die "the benchmark (see $out/mlx5.$side)"
done

step "mapping 4 GiB in single pages with ours"
"$top/harness/vm.sh" --icount --mem 4G --mlx5 --timeout 900 -- \
	"$perf ours mlx5 alias 4096" >"$out/mlx5.alias" ||
	die "4 GiB in single pages (see $out/mlx5.alias)"

# value SIDE WHAT N KEY: from "WHAT n=N ... KEY=value", but for those below
value()
{
	sed -n "/^queues/q; s/^$2 n=$3 .*\\b$4=\\([^ ]*\\).*/\\1/p" "$out/mlx5.$1"
}

# of_queues FIRMWARE SIDE WHAT N KEY: the same with so many queues, on old or resumable
# firmware
of_queues()
{
	sed -n "/^queues $1/,/^queues/s/^$3 n=$4 .*\\b$5=\\([^ ]*\\).*/\\1/p" "$out/mlx5.$2"
}

# time_row TEXT FUNCTION...: with values that this tells, given a key as the last argument
time_row()
{
	local text=$1 side key row=()

	shift
	for key in commands chain us; do
		for side in unpatched ours; do
			row+=("$("${@/SIDE/$side}" "$key")")
		done
	done
	printf '%-34s %10s %10s %9s %9s %10s %10s\n' "$text" "${row[@]}"
}

# queues_table FIRMWARE WHAT TEXT
queues_table()
{
	local n

	for n in $queues; do
		time_row "$3 $n" of_queues "$1" SIDE "$2" "$n"
	done
}

first_map_table()
{
	local n

	for n in $gib; do
		time_row "map for the first time, GiB: $n" value SIDE first_map "$n"
	done
}

table()
{
	local n

	for n in $3; do
		printf '%-34s %10s %10s %14s %14s\n' "$2 $n" \
			"$(value unpatched "$1" "$n" commands)" \
			"$(value ours "$1" "$n" commands)" \
			"$(value unpatched "$1" "$n" ns)" "$(value ours "$1" "$n" ns)"
	done
}

{
	printf '%-34s %21s %29s\n' '' 'firmware commands' 'guest instructions'
	printf '%-34s %10s %10s %14s %14s\n' '' unpatched ours unpatched ours
	table restart 'reset and restart, MiB mapped:' "$sizes"
	table plug 'plug a page, regions there:' "$regions"
	table unplug 'unplug a page, regions there:' "$regions"
	sed -n 's/.* phase=\([a-z]*\) .*ns_per_page=/\1 4 GiB in single pages, instructions a page: /p' \
		"$out/mlx5.alias"
	printf '\n%-34s %21s %19s %21s\n' '' 'firmware commands' 'one after another' \
		'us, if each takes 100'
	printf '%-34s %10s %10s %9s %9s %10s %10s\n' '' unpatched ours unpatched ours \
		unpatched ours
	queues_table old start 'first start, queues:'
	queues_table old restart 'reset and restart, queues:'
	queues_table old suspend 'suspend, queues:'
	queues_table old plug 'plug a page, queues:'
	queues_table resumable plug '... if they can resume, queues:'
	first_map_table
} | tee "$out/mlx5.txt"

: >"$out/mlx5-plug.tsv"
for n in $regions; do
	printf '%s\t%s\t%s\n' "$n" "$(value unpatched plug "$n" commands)" \
		"$(value ours plug "$n" commands)" >>"$out/mlx5-plug.tsv"
done
gnuplot <<-EOF
	set terminal svg size 640,400
	set output "$out/mlx5-plug.svg"
	set logscale xy
	set xlabel "regions that are there already"
	set ylabel "firmware commands to plug one page"
	set key left top
	plot "$out/mlx5-plug.tsv" using 1:2 with linespoints title "unpatched", \\
		"" using 1:3 with linespoints title "with the series"
EOF

: >"$out/mlx5-queues.tsv"
for n in $queues; do
	printf '%s\t%s\t%s\t%s\n' "$n" "$(of_queues old unpatched plug "$n" us)" \
		"$(of_queues old ours plug "$n" us)" \
		"$(of_queues resumable ours plug "$n" us)" >>"$out/mlx5-queues.tsv"
done
gnuplot <<-EOF
	set terminal svg size 640,400
	set output "$out/mlx5-queues.svg"
	set xlabel "virtqueues"
	set ylabel "ms of firmware commands to plug one page"
	set key left top
	plot "$out/mlx5-queues.tsv" using 1:(\$2/1000) with linespoints title "unpatched", \\
		"" using 1:(\$3/1000) with linespoints title "with the series", \\
		"" using 1:(\$4/1000) with linespoints title "... if they can resume"
EOF
step "plots: $out/mlx5-plug.svg and mlx5-queues.svg"
