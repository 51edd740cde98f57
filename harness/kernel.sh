#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# kernel.sh [fast|debug|mutation|fuzz|uml]: build the kernel of the tree, and the modules that the
# series can touch once more from the sources of the base.

. "$(dirname "$0")/modules-lib.sh"
lock_build

flavour=${1:-fast}
obj=$(obj_dir "$flavour")
image=$(image_of "$flavour")
image=${image#"$top"/}
mods=$build/mods/$flavour
fragments=() flags=()
case $flavour in
fuzz) names=(guest vdpa debug fuzz) ;;
uml) names=(guest vdpa debug fuzz uml) ;;
*) names=(guest vdpa "$flavour") ;;
esac
for fragment in "${names[@]}"; do
	fragments+=("$top/harness/config/$fragment.config")
done
# What is different for this base
for fragment in "$patches/config" "$patches/config-$flavour"; do
	[ ! -e "$fragment" ] || fragments+=("$fragment")
done

need kernel

# The same sources give the same image, down to its version string
export KBUILD_BUILD_USER=vdpa-persist KBUILD_BUILD_HOST=localhost \
	KBUILD_BUILD_VERSION=1 KBUILD_BUILD_TIMESTAMP='2023-01-01 00:00:00 UTC'

without=$top/harness/config/$flavour.without
configure()
{
	local fragment used=() number=0

	rm -rf "$obj/fragments"
	mkdir "$obj/fragments"
	for fragment in "${fragments[@]}"; do
		number=$((number + 1))
		used+=("$obj/fragments/$number")
		grep -vwFf <(list "$without") "$fragment" >"$obj/fragments/$number" || true
	done
	(cd "$tree" && ARCH=$(arch_of "$obj") scripts/kconfig/merge_config.sh -n -O "$obj" \
		kernel/configs/tiny-base.config "${used[@]}")
}

# The configuration follows from the fragments and from what the tree has made
# of the Kconfig files
configuration=$({
	cat "${fragments[@]}"
	list "$without"
	git -C "$tree" rev-parse 'base^{tree}'
	git -C "$tree" diff base -- '*Kconfig*'
} | sha256sum)
mkdir -p "$obj"
if [ "$configuration" != "$(cat "$obj/.configured" 2>/dev/null)" ]; then
	step "configuring the $flavour kernel"
	logged "config-$flavour" configure
	if grep 'not in final .config' "$log/config-$flavour.log"; then
		die "the kernel did not take these options (see $log/config-$flavour.log)"
	fi
	echo "$configuration" >"$obj/.configured"
fi

# The checkers themselves are not checked: that would take half of the time of a run
for checker in lockdep kmemleak debugobjects; do
	flags+=("KASAN_SANITIZE_$checker.o=n" "UBSAN_SANITIZE_$checker.o=n")
done
# Of what the fuzzer drives, its coverage: objects by their names, which nothing
# else in this configuration has
if [ "$flavour" = fuzz ] || [ "$flavour" = uml ]; then
	for covered in $(list "$top/harness/config/fuzz.objects"); do
		flags+=("KCOV_INSTRUMENT_$(basename "$covered" .c).o=y")
	done
fi

# User-mode Linux of 6.1 offers to modules a function that later C libraries do not have.
# Besides it, what its Makefile says
if [ "$flavour" = uml ] && grep -q __xmknod "$tree/arch/um/os-Linux/user_syms.c"; then
	flags+=("LINK_WRAPS=$(printf -- '-Wl,--wrap,%s ' malloc free calloc)-Wl,--defsym,__xmknod=0")
fi

# If anything fails, there is no kernel to run, rather than the one before
complete=''
trap '[ "$complete" ] || rm -rf "$mods" "$mods-unpatched"' EXIT
step "building the $flavour kernel (the first time takes minutes)"
with_ccache logged "build-$flavour" kmake "${flags[@]}" "$(basename "$image")" modules
rm -rf "$mods"
logged "install-$flavour" kmake INSTALL_MOD_PATH="$mods" modules_install

# Only the fuzzer runs in these, with the patched modules and planted bugs
if [ "$flavour" = fuzz ] || [ "$flavour" = uml ]; then
	complete=y
	step "kernel: $image"
	exit
fi

if has_model; then
	step "building mlx5_vdpa and the model of its firmware"
	build_mlx5 "$flavour"
fi

step "building the unpatched modules beside it"
build_modules "$flavour" base "$obj-unpatched" "$mods-unpatched"
complete=y
step "kernel: $image"
