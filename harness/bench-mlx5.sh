#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What mlx5_vdpa costs on the model of its firmware, the base's and ours: firmware
# commands and guest instructions. A table, and a plot of what a hot-plug takes.

. "$(dirname "$0")/lib.sh"
lock_build

need plots
"$top/harness/build-selftests.sh" >/dev/null
bench=$build/selftests/mlx5_bench
perf=$build/selftests/map_perf
sizes='64 256 1024' regions='1 10 100 1000'
mkdir -p "$out"

for side in unpatched ours; do
	step "running with the $side modules"
	option=()
	[ "$side" = ours ] || option=(--unpatched)
	# The sizes need more ranges than the base allows by default
	"$top/harness/vm.sh" --icount --mem 4G --mlx5 "${option[@]}" --timeout 900 -- \
		"modprobe vhost_vdpa max_iotlb_entries=65536 &&
		modprobe -a mlx5_mock &&
		modprobe mlx5_vdpa max_iotlb_entries=65536 &&
		$bench reset $sizes && $bench plug $regions" \
		>"$out/mlx5.$side" || die "the benchmark (see $out/mlx5.$side)"
done

step "mapping 4 GiB in single pages with ours"
"$top/harness/vm.sh" --icount --mem 4G --mlx5 --timeout 900 -- \
	"$perf ours mlx5 alias 4096" >"$out/mlx5.alias" ||
	die "4 GiB in single pages (see $out/mlx5.alias)"

# value SIDE WHAT N KEY: from "WHAT n=N ... KEY=value"
value()
{
	sed -n "s/^$2 n=$3 .*\\b$4=\\([^ ]*\\).*/\\1/p" "$out/mlx5.$1"
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
step "plot: $out/mlx5-plug.svg"
