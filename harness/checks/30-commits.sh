#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# Each commit compiles, and passes sparse, without a warning that the base does
# not give. They are compiled as modules for the kernel that is there, in folders
# that go from commit to commit.

. "$(dirname "$0")/check-lib.sh"
. "$top/harness/modules-lib.sh"

selftests=tools/testing/selftests/vdpa
# What its selftests are built from beside their own folder
kselftest=(tools/testing/selftests/{lib.mk,kselftest.h,kselftest_harness.h} tools/scripts)
dirs=(drivers/vdpa drivers/vhost drivers/virtio "$model")
# Of other drivers, only the sources that the series changes are compiled: they are
# for hardware, and this kernel does not have them
changed=$(gt diff --name-only base "$made" -- 'drivers/*.c' "${dirs[@]/#/:!}")
alone=()
if [ "$changed" ]; then
	mapfile -t alone <<<"$changed"
	dirs+=("${alone[@]%/*}")
fi
obj=$(obj_dir fast)
read -ra headers <<<"$(series_headers)"
# Drivers that the kernel does not have, and that compile all the same
read -ra more_config <<<"$(base_key drivers)"
# A source that this kernel has no use for
not_compiled=$(base_key not_compiled)

# folders: those that there are; not every commit has the model of the firmware
folders()
{
	local dir

	for dir in "${dirs[@]}"; do
		[ ! -e "$source/$dir/Makefile" ] &&
			[ ! -e "$source/$dir/Kbuild" ] || echo "$dir/"
	done
}

# sources_at COMMIT: take the folder there, and touch only what differs
sources_at()
{
	local commit=$1 last changed file files=()

	last=$(cat "$source/.at" 2>/dev/null || true)
	# A commit of a tree that was made anew since is not there any more
	gt cat-file -e "$last^{tree}" 2>/dev/null || last=$(gt hash-object -t tree -w /dev/null)
	changed=$(gt diff --no-renames --name-only "$last" "$commit" -- "${dirs[@]}" "${headers[@]}")
	for file in $changed; do
		if gt cat-file -e "$commit:$file" 2>/dev/null; then
			files+=("$file")
		else
			rm -f "$source/$file"
		fi
	done
	[ ${#files[@]} = 0 ] || gt archive "$commit" "${files[@]}" | tar -C "$source" -xmf -
	compile_alone
	# shellcheck disable=SC2046 # each is an argument
	write_kbuild "$source" $(folders)
}

# compile_alone: instead of the driver that a source belongs to
compile_alone()
{
	local file

	for file in "${alone[@]}"; do
		# shellcheck disable=SC2016
		echo 'ccflags-y += -I$(src)' >"$source/${file%/*}/Makefile"
	done
	for file in "${alone[@]}"; do
		echo "obj-m += $(basename "$file" .c).o" >>"$source/${file%/*}/Makefile"
	done
}

# compiled COMMIT: there is an object of each source that it changes
compiled()
{
	local changed file missing=''

	changed=$(gt diff --no-renames --diff-filter=d --name-only "$1^" "$1" -- "${dirs[@]}")
	for file in $(grep '\.c$' <<<"$changed" | grep -vxF "${not_compiled:-none}" || true); do
		[ "$source/${file%.c}.o" -nt "$source/$file" ] || { echo "$file was not compiled"; missing=y; }
	done
	[ ! "$missing" ]
}

compile()
{
	# shellcheck disable=SC2046
	kmake -k W=1 C=1 M="$source" "${mlx5_config[@]}" "${more_config[@]}" $(folders) 2>&1
}

build_base()
{
	local source=$build/check-compile

	mkdir -p "$source"
	sources_at base
	compile | tee "$source/W1"
	echo base >"$source/.at"
	mv "$source/W1" "$base_log"
}

# build_at COMMIT: compile_part()'s, which knows the folder. The objects that differ from
# those there are compiled
build_at()
{
	local source=$build/check-compile-$part output=$log/check/W1-$1

	if [ ! -e "$source/.at" ]; then
		copy_modules "$build/check-compile" "$source"
	fi
	sources_at "$1"
	# If it does not compile, the next time begins with nothing
	rm "$source/.at"
	with_ccache compile | tee "$output"
	nothing_new "$base_log" "$output"
	compiled "$1"
	echo "$1" >"$source/.at"
	gt diff --quiet "$1^" "$1" -- $selftests && return
	gt cat-file -e "$1:$selftests" 2>/dev/null || return 0
	rm -rf "$source-selftests"
	mkdir -p "$source-selftests"
	gt archive "$1" $selftests "${kselftest[@]}" | tar -C "$source-selftests" -xf -
	make -C "$source-selftests/$selftests" OUTPUT="$source-selftests" \
		KHDR_INCLUDES="-isystem $obj/usr/include" USERCFLAGS='-Wall -Werror'
}

# What the result depends on
inputs()
{
	cat "${BASH_SOURCE[0]}" "$top"/harness/{checks/check,modules,series}-lib.sh "$obj/.config"
	gcc --version
	sparse --version
	gt rev-parse 'base^{tree}'
	echo "${more_config[*]}"
}

# key COMMIT
key()
{
	local path

	{
		echo "$common"
		for path in "${dirs[@]}" "${headers[@]}" $selftests "${kselftest[@]}"; do
			echo "$1:$path"
		done | gt cat-file --batch-check
	} | digest
}

need checks
common=$(inputs | digest)
commits=()
for commit in $(gt rev-list --reverse "base..$made"); do
	[ "$(topic_name "$commit")" ] || commits+=("$commit")
done
base_log=$build/check-compile/.W1-$common
if [ ! -e "$base_log" ]; then
	rm -rf "$build"/check-compile*
	check "compile: base, W=1 and sparse" build_base
fi
# compile_part PART COMMIT...: one after the other, as each compiles what differs from the last
compile_part()
{
	local part=$1 commit

	shift
	checks=$((part * ${#commits[@]} + 1))
	for commit; do
		check_once "$(key "$commit")" \
			"compile: $(gt log -1 --format=%s "$commit"), W=1 and sparse" build_at "$commit"
	done
}

# shellcheck disable=SC2064,SC2046
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
share=$(((${#commits[@]} + jobs - 1) / jobs))
parts=()
for ((part = 0; part < jobs; part++)); do
	compile_part $part "${commits[@]:part * share:share}" &
	parts+=($!)
done
# One that ends early has not announced the rest of its checks
for part in "${parts[@]}"; do
	wait "$part"
done
