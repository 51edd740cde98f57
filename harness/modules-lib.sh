# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Modules that the series can touch, built from other sources than the tree's
# work tree, for the kernel that is there.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

kmake()
{
	make -C "$tree" O="$obj" ARCH=x86_64 LOCALVERSION= -j"$jobs" "$@"
}

# The model of the ConnectX firmware, and what Kconfig would say if mlx5_vdpa could
# be configured without mlx5_core
model=tools/testing/vdpa/mlx5
mlx5_config=(CONFIG_MLX5_VDPA=y CONFIG_MLX5_VDPA_NET=m)
# shellcheck disable=SC2016 # make expands it
mlx5_flags='-DCONFIG_MLX5_MPFS=1 -DCONFIG_AUXILIARY_BUS=1 -I$(src)/drivers/vdpa/mlx5/core'

# put_model SOURCE: the model beside the sources of modules
put_model()
{
	mkdir -p "$1/$model"
	cp -au "$top/$model/." "$1/$model"
}

# install_made SOURCE MODS RELEASE: the modules that were made in a folder
install_made()
{
	(cd "$1" && find . -name '*.ko') | while read -r module; do
		install -D -m 644 "$1/$module" "$2/lib/modules/$3/kernel/$module"
	done
	depmod -b "$2" "$3"
}

# build_mlx5 FLAVOUR: mlx5_vdpa of the tree, and the model; into the modules that
# are there
build_mlx5()
{
	local obj source release

	obj=$(obj_dir "$1")
	source=$obj-mlx5
	release=$(cat "$obj/include/config/kernel.release")
	mkdir -p "$source/drivers/vdpa"
	cp -au "$tree/drivers/vdpa/mlx5" "$source/drivers/vdpa"
	put_model "$source"
	cat >"$source/Kbuild" <<-EOF
		subdir-ccflags-y += $mlx5_flags
		obj-m += drivers/vdpa/mlx5/ $model/
	EOF
	logged "modules-${source##*/}" kmake M="$source" "${mlx5_config[@]}" modules
	install_made "$source" "$build/mods/$1" "$release"
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
	made="$(git -C "$tree" rev-parse "$treeish^{tree}") $headers $mlx5_flags"
	if [ "$made" != "$(cat "$source/.made" 2>/dev/null)" ]; then
		rm -rf "$source"
		mkdir -p "$source"
		# shellcheck disable=SC2086
		git -C "$tree" archive "$treeish" drivers/vdpa drivers/vhost \
			drivers/virtio $headers | tar -C "$source" -xf -
		cat >"$source/Kbuild" <<-EOF
			NOSTDINC_FLAGS += -I\$(src)/include -I\$(src)/include/uapi
			export NOSTDINC_FLAGS
			subdir-ccflags-y += $mlx5_flags
			obj-m += drivers/vdpa/ drivers/vhost/ drivers/virtio/ $model/
		EOF
		# shellcheck disable=SC2016
		echo 'obj-$(CONFIG_VIRTIO_VDPA) += virtio_vdpa.o' \
			>"$source/drivers/virtio/Makefile"
		echo "$made" >"$source/.made"
	fi
	put_model "$source"
	logged "modules-${source##*/}" kmake M="$source" "${mlx5_config[@]}" modules
	for header in $headers; do
		if find "$source" -name '.*.cmd' -exec cat {} + |
		   grep -F "/$header" | grep -qvF "$source/$header"; then
			die "a module in ${source##*/} was built with the tree's $header"
		fi
	done

	rm -rf "$to"
	cp -a "$mods" "$to"
	install_made "$source" "$to" "$release"
}
