#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# matrix.sh [PARENT[,PARENT]...]...: who can follow whom, for each parent or these, which
# "--parents" lists: the matrix of tools/testing/selftests/vdpa/matrix.c, with
# our modules and with those of the base beside it, into out/<base>/matrix-<flavour>.txt.
# What hangs or oopses must not end all of it, so that each argument has a machine of its own.
#
# ROUNDS   how often each case is tried (2)
# FLAVOUR  of the kernel (fast)
# SIDES    which modules to try (ours unpatched)

. "$(dirname "$0")/lib.sh"
rounds=${ROUNDS:-2} flavour=${FLAVOUR:-fast}
read -ra sides <<<"${SIDES:-ours unpatched}"
address=0000:00:09.0
parents=('vdpa_sim net set_map' 'vdpa_sim net dma_map' 'vdpa_sim blk set_map'
	'vdpa_sim blk dma_map' 'mlx5 net' 'vp_vdpa blk' 'VDUSE blk')
cases=16
if [ "${1:-}" = --parents ]; then
	printf '%s\n' "${parents[@]}"
	exit
fi
machines=("${parents[@]}")
if [ $# != 0 ]; then
	machines=("$@")
	mapfile -t parents < <(printf '%s\n' "$@" | tr , '\n')
fi
lock_build
name=matrix-$flavour
[ $# = 0 ] || name+=-$(tr ' ,' - <<<"$*")
work=$build/$name

"$top/harness/build-selftests.sh" >/dev/null
rm -rf "$work"
mkdir -p "$out" "$work"

# machine PARENT...: what the virtual machine needs for them
machine()
{
	[[ " $*" != *' mlx5'* ]] || option+=(--mlx5)
	if [[ " $*" == *' vp_vdpa'* ]]; then
		# A disk for it, behind an IOMMU of the platform
		truncate -s 16M "$work/disk"
		option+=(--iommu --qemu "-drive if=none,id=d0,file=$work/disk,format=raw,snapshot=on"
			--qemu "-device virtio-blk-pci,drive=d0,iommu_platform=on,disable-legacy=on,addr=9")
	fi
}

# run "SIDE PARENT[,PARENT]..."
run()
{
	local side=${1%% *} parent these command='code=0' option=() file=$work/${1//[ ,]/-}

	IFS=, read -ra these <<<"${1#* }"
	step "$side: ${1#* }, $rounds rounds"
	machine "${these[@]}"
	[ "$side" = ours ] ||
		option+=(--unpatched --append sysctl.kernel.hung_task_panic=0)
	for parent in "${these[@]}"; do
		command+="; $build/selftests/matrix -r $rounds -p '$parent' -P $address || code=\$?"
	done
	"$top/harness/vm.sh" --flavour "$flavour" \
		--timeout $(((300 + 60 * rounds) * ${#these[@]})) "${option[@]}" \
		-- "$command; exit \$code" >"$file.out" 2>"$file.err" || [ "$side" = unpatched ] ||
		echo "${1#* }" >>"$work/failed"
	for parent in "${these[@]}"; do
		sort_out "$parent" "$file" "$work/$side-${parent// /-}"
	done
}

# sort_out PARENT RUN FILE: what a run says of the parent, and why it does not say more
sort_out()
{
	grep -a "^$1  *| .* | " "$2.out" >"$3" || true
	if grep -q 'the kernel complained' "$2.err"; then
		grep -aoE -m 1 'general protection fault|BUG: [^,]*|WARNING: [^ ]*|Kernel panic[^:]*' \
			"$2.err" >"$3.end" || echo 'kernel complained' >"$3.end"
	else
		echo 'not tried: hangs before' >"$3.end"
	fi
}

# rows PARENT: each case, and what the sides say. A kernel ended with the first
# line that is not there; later ones were not tried.
rows()
{
	local side columns=()

	for side in "${sides[@]}"; do
		columns+=("$work/$side-${1// /-}")
	done
	awk -F ' [|] ' -v OFS=' | ' -v parent="$1" '
		!(($2, $3) in known) { known[$2, $3]; order[++rows] = $2 SUBSEP $3 }
		{ result[FILENAME, $2, $3] = $4 }
		END {
			for (i = 1; i <= rows; i++) {
				split(order[i], c, SUBSEP)
				line = sprintf("%-21s | %-31s | %-18s", parent, c[1], c[2])
				for (f = 1; f < ARGC; f++)
					line = line " | " sprintf("%-9s", cell(ARGV[f], c[1], c[2]))
				print line
			}
		}
		function cell(file, h, l,	last) {
			if ((file, h, l) in result)
				return result[file, h, l]
			if (!(file in end))
				getline end[file] <(file ".end")
			last = end[file]
			if (last !~ /^not tried/)
				end[file] = "not tried: kernel ended before"
			return last
		}' "${columns[@]}"
}

: >"$work/table"
rm -f "$work/failed"
runs=()
for these in "${machines[@]}"; do
	for side in "${sides[@]}"; do
		runs+=("$side $these")
	done
done
each run "${runs[@]}"
for parent in "${parents[@]}"; do
	rows "$parent" >>"$work/table"
done

{
	echo "$base, $flavour kernel, $rounds rounds of each case; modules: ${sides[*]}"
	echo
	printf '%-21s | %-31s | %-18s' parent hand-over 'first owner leaves'
	printf ' | %-9s' "${sides[@]}"
	printf '\n'
	cat "$work/table"
} >"$out/$name.txt"

# On one screen: a group of signs for each hand-over, a sign for each way to leave
{
	echo "+ works, x fails, - not tried, as the kernel was gone; $rounds rounds, $flavour kernel"
	awk -F ' *[|] *' -v sides="${sides[*]}" '
		function sign(result) {
			return result ~ /^ok/ ? "+" : result ~ /^not tried/ ? "-" : "x"
		}
		!($1 in row) { row[$1]; order[++rows] = $1 }
		{
			for (i = 4; i <= NF; i++)
				line[$1, i] = line[$1, i] (line[$1, i] != "" && $2 != last ? " " : "") sign($i)
			last = $2
		}
		END {
			n = split(sides, side, " ")
			printf "%-22s", ""
			for (i = 1; i <= n; i++)
				printf(i < n ? "%-22s" : "%s\n", side[i])
			for (r = 1; r <= rows; r++) {
				printf "%-22s", order[r]
				for (i = 1; i <= n; i++)
					printf(i < n ? "%-22s" : "%s\n", line[order[r], i + 3])
			}
		}' "$work/table"
	echo 'Groups: vhost -> virtio, virtio -> vhost, vhost -> vhost of another process,'
	echo 'vhost -> deleted and created anew. In each: the first owner leaves in order,'
	echo 'leaves maps behind, is killed under load, its parent is unloaded.'
} >"$out/$name-short.txt"
cat "$out/$name-short.txt"
step "what failed, and why: $out/$name.txt"

expected=$((cases * ${#parents[@]}))
good=$(awk -F ' [|] ' '$4 ~ /^ok *$/' "$work/table" | wc -l)
if [ "$good" = "$expected" ] && [ -e "$work/failed" ]; then
	echo "all works, but the machine of $(sort -u "$work/failed" | xargs) ended in an error"
	exit 1
fi
echo "$good passed, $((expected - good)) failed"
[ "$good" = "$expected" ]
