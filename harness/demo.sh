#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The point of it all on one screen: what a reset of the virtio device leaves of
# a client's mappings, and what it costs, on the base and with the series. All
# figures are of this run.

. "$(dirname "$0")/lib.sh"
[ ! -e "$patches/demo" ] || exec "$top/harness/demo-tests.sh"
lock_build

need vm selftests plots
sizes='64 1024 4096'
mem=7G
if [ "$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)" -lt 8192 ]; then
	step "less than 8 GiB of memory: the largest size is left out"
	sizes='64 1024' mem=3G
fi

"$top/harness/build-selftests.sh" >/dev/null
mlx5_size=1024
mkdir -p "$out"

# run_demo NAME [OPTION]: all of it with the modules of one side. The sizes need
# more ranges than the base allows by default.
run_demo()
{
	step "running the modules: $1"
	# shellcheck disable=SC2086 # the sizes are several words
	"$top/harness/vm.sh" --icount --mem "$mem" --mlx5 ${2:+"$2"} \
		--append "vhost_vdpa.max_iotlb_entries=65536" \
		--append "vdpa_sim.max_iotlb_entries=65536" \
		--append "mlx5_vdpa.max_iotlb_entries=65536" -- \
		"$top/harness/demo-guest.sh" "$build/selftests" $sizes $mlx5_size \
		>"$out/demo.$1" || die "the demo, $1 (see $out/demo.$1)"
}

run_demo unpatched --unpatched
run_demo ours

# value SIDE LINE KEY: from "LINE ... KEY=value"
value()
{
	sed -n "s/^$2 .*\\b$3=\\([^ ]*\\).*/\\1/p" "$out/demo.$1"
}

row()
{
	printf '  %-38s %15s  %15s\n' "$@"
}

yes_no()
{
	case $(value "$@") in
	0 | no) echo no ;;
	1 | yes) echo yes ;;
	*) die "no result for $* in $out/demo.$1" ;;
	esac
}

both()
{
	local unpatched ours

	unpatched=$("$2" unpatched "$3" "$4")
	ours=$("$2" ours "$3" "$4")
	[ "$ours" ] || die "no result for $3 $4 in $out/demo.ours"
	row "$1" "$unpatched" "$ours"
}

{
	echo
	row "$(base_key package) $(cat "$build/source/version" 2>/dev/null)" unpatched ours
	echo "Map 64 MiB, start the device, reset it, start it again without mapping anything:"
	both 'kernel offers IOTLB_PERSIST' yes_no "client mib=64" offered
	both 'mappings still work (a frame returns)' yes_no "client mib=64" reaches
	echo "Instructions until the device works again after a reset:"
	row '' 'unmap+reset+map' 'reset'
	: >"$out/reset-cost.tsv"
	for size in $sizes; do
		unpatched=$(value unpatched "client mib=$size" ns)
		ours=$(value ours "client mib=$size" ns)
		printf '%s\t%s\t%s\n' "$size" "$unpatched" "$ours" >>"$out/reset-cost.tsv"
		[ "$ours" ] || die "no result for $size MiB in $out/demo.ours"
		row "with $size MiB mapped" "$unpatched" "$ours"
	done
	echo "The same on mlx5_vdpa and a model of its firmware, with $mlx5_size MiB mapped:"
	both 'instructions' value "restart n=$mlx5_size" ns
	both 'firmware commands' value "restart n=$mlx5_size" commands
	echo "Close the file with all of it mapped, bind virtio-vdpa, send a frame:"
	both 'the frame returns' yes_no handover returns
} | tee "$out/demo.txt"

gnuplot <<-EOF
	set logscale xy
	set xlabel "memory mapped (MiB)"
	set ylabel "guest instructions"
	set title "Making a device usable again after a reset"
	set key left top
	set grid
	set yrange [1000:*]
	set style data linespoints
	do for [type in "svg png"] {
		set terminal type size 800,500
		set output "$out/reset-cost.".type
		plot "$out/reset-cost.tsv" using 1:2 title "unpatched: unmap, reset, map", \
			"" using 1:3 title "ours: reset"
	}
EOF
echo "Plot: ${out#"$top"/}/reset-cost.svg and .png"
