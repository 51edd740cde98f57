# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Modules that the series can touch, built from other sources than the tree's
# work tree, for the kernel that is there.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

kmake()
{
	make -C "$tree" O="$obj" ARCH=x86_64 LOCALVERSION= -j"$jobs" "$@"
}

# build_modules FLAVOUR TREEISH SOURCE MODS: in the folder SOURCE, the modules of
# a commit or tree of the git tree; MODS becomes a copy of what the guest has for
# /lib/modules with these modules in it. They see the headers of TREEISH instead
# of those of the work tree.
build_modules()
{
	local obj mods=$build/mods/$1 treeish=$2 source=$3 to=$4
	local headers header release made

	obj=$(obj_dir "$1")
	release=$(cat "$obj/include/config/kernel.release")
	headers=$(git -C "$tree" diff --name-only --diff-filter=MD base refs/vdpa-persist/made -- include)
	made="$(git -C "$tree" rev-parse "$treeish^{tree}") $headers"
	if [ "$made" != "$(cat "$source/.made" 2>/dev/null)" ]; then
		rm -rf "$source"
		mkdir -p "$source"
		# shellcheck disable=SC2086
		git -C "$tree" archive "$treeish" drivers/vdpa drivers/vhost \
			drivers/virtio $headers | tar -C "$source" -xf -
		cat >"$source/Kbuild" <<-'EOF'
			NOSTDINC_FLAGS += -I$(src)/include -I$(src)/include/uapi
			export NOSTDINC_FLAGS
			obj-m += drivers/vdpa/ drivers/vhost/ drivers/virtio/
		EOF
		# shellcheck disable=SC2016
		echo 'obj-$(CONFIG_VIRTIO_VDPA) += virtio_vdpa.o' \
			>"$source/drivers/virtio/Makefile"
		echo "$made" >"$source/.made"
	fi
	logged "modules-${source##*/}" kmake M="$source" modules
	for header in $headers; do
		if find "$source" -name '.*.cmd' -exec cat {} + |
		   grep -F "/$header" | grep -qvF "$source/$header"; then
			die "a module in ${source##*/} was built with the tree's $header"
		fi
	done

	rm -rf "$to"
	cp -a "$mods" "$to"
	(cd "$source" && find . -name '*.ko') | while read -r module; do
		cp "$source/$module" "$to/lib/modules/$release/kernel/$module"
	done
	depmod -b "$to" "$release"
}
