#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What mapping and unmapping cost, with the modules of the base and with ours,
# in guest instructions for each page of 4 KiB: a table, out/<base>/bench.tsv
# with all figures, and a plot over size.

. "$(dirname "$0")/lib.sh"
lock_build

need plots
"$top/harness/build-selftests.sh" >/dev/null
perf=$build/selftests/map_perf
tsv=$out/bench.tsv
mkdir -p "$out"

kinds='4k thp hugetlb memfd'
sizes='4 16 64 256'
table_mib=256
# As many ranges as pages; the base has room for 2048
shuffled='4'
alias='64 1024 4096'

# run_bench MODULES [OPTION]: every figure, a boot for each kind of parent, and
# what leaves memory in pieces at the end
run_bench()
{
	local modules=$1 parent kind commands

	shift
	: >"$out/bench.$modules"
	for parent in dma_map set_map; do
		step "measuring the modules: $modules, $parent"
		commands='echo 0 >/proc/sys/kernel/printk'
		for kind in $kinds; do
			commands+="; $perf $modules $parent $kind $sizes"
		done
		commands+="; $perf $modules $parent shuffled $shuffled"
		commands+="; $perf $modules $parent alias $alias"
		# The base can't do all of it, and the output says so
		"$top/harness/vm.sh" --icount --mem 2G --timeout 1800 "$@" -- \
			"$commands; true" >>"$out/bench.$modules" ||
			die "measuring $modules (see $out/bench.$modules)"
	done
}

run_bench unpatched --unpatched
run_bench ours

# From "map_perf key=value ..." to a column for each key
{
	printf 'modules\tkernel\tparent\tmemory\tmib\tphase\tns_min\tns_max\tns_per_page\n'
	awk -v OFS='\t' '/^map_perf kernel=/ {
		for (i = 2; i <= NF; i++) {
			split($i, kv, "=")
			v[kv[1]] = kv[2]
		}
		print v["modules"], v["kernel"], v["parent"], v["memory"],
		      v["mib"], v["phase"], v["ns_min"], v["ns_max"],
		      v["ns_per_page"]
	}' "$out/bench.unpatched" "$out/bench.ours"
} >"$tsv"

# figure MODULES PARENT MEMORY MIB PHASE
figure()
{
	awk -F '\t' -v want="$*" '
		$1 " " $3 " " $4 " " $5 " " $6 == want { print $9; found = 1 }
		END { if (!found) print "-" }' "$tsv"
}

# table PARENT: a row for each kind of memory
table()
{
	local parent=$1 kind mib

	printf '\n.%s\n' "$parent, instructions a page of 4 KiB"
	printf '%-16s %8s %12s %8s %14s %8s\n' memory MiB 'map base' ours \
		'unmap base' ours
	for kind in $kinds shuffled alias; do
		mib=$table_mib
		[ "$kind" != shuffled ] || mib=$shuffled
		[ "$kind" != alias ] || mib=${alias##* }
		printf '%-16s %8s %12s %8s %14s %8s\n' "$kind" "$mib" \
			"$(figure unpatched "$parent" "$kind" "$mib" map)" \
			"$(figure ours "$parent" "$kind" "$mib" map)" \
			"$(figure unpatched "$parent" "$kind" "$mib" unmap)" \
			"$(figure ours "$parent" "$kind" "$mib" unmap)"
	done
}

# plot TERMINAL FILE
plot()
{
	gnuplot <<-EOF
		set terminal $1
		set output '$2'
		set datafile separator '\t'
		set logscale xy
		set xlabel 'size, MiB'
		set ylabel 'guest instructions'
		set format y '10^{%T}'
		set key left top
		set grid
		set title 'vhost-vdpa: mapping and unmapping, .dma_map parent ($base)'
		f(m, k, p) = sprintf("< awk -F '\\t' '\$1 == \"%s\" && \$3 == \"dma_map\" && \$4 == \"%s\" && \$6 == \"%s\"' '$tsv'", m, k, p)
		plot f('unpatched', '4k', 'map') using 5:7 with linespoints dt 2 title 'base: map, 4 KiB pages', \\
			f('ours', '4k', 'map') using 5:7 with linespoints title 'ours: map, 4 KiB pages', \\
			f('unpatched', 'thp', 'map') using 5:7 with linespoints dt 2 title 'base: map, THP', \\
			f('ours', 'thp', 'map') using 5:7 with linespoints title 'ours: map, THP', \\
			f('unpatched', 'thp', 'unmap') using 5:7 with linespoints dt 2 title 'base: unmap, THP', \\
			f('ours', 'thp', 'unmap') using 5:7 with linespoints title 'ours: unmap, THP'
	EOF
}

table dma_map
table set_map
plot 'svg size 800,500 background "white"' "$out/bench.svg"
plot 'pngcairo size 800,500' "$out/bench.png"
printf '\nThe figures of all sizes: %s; the plot: %s\n' "$tsv" "$out/bench.svg"
