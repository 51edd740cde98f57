# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Modules that the series can touch, built from other sources than the tree's
# work tree, for the kernel that is there.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# arch_of OBJ
arch_of()
{
	case $1 in
	*/obj-uml) echo um ;;
	*) echo x86_64 ;;
	esac
}

kmake()
{
	make -C "$tree" O="$obj" ARCH="$(arch_of "$obj")" LOCALVERSION= -j"$jobs" "$@"
}

# The model of the ConnectX firmware, and what Kconfig would say if mlx5_vdpa could
# be configured without mlx5_core
model=tools/testing/vdpa/mlx5
mlx5_config=(CONFIG_MLX5_VDPA=y CONFIG_MLX5_VDPA_NET=m)
# shellcheck disable=SC2016 # make expands it
mlx5_flags='-DCONFIG_MLX5_MPFS=1 -DCONFIG_AUXILIARY_BUS=1 -I$(src)/drivers/vdpa/mlx5/core'

# Does the series of this base have the model?
has_model()
{
	[ -e "$tree/$model" ]
}

# put_model SOURCE: the model beside the sources of modules
put_model()
{
	mkdir -p "$1/$model"
	cp -au "$tree/$model/." "$1/$model"
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

# Headers that the series changes: modules built in a folder of their own see the
# folder's, not those of the work tree
series_headers()
{
	local header

	git -C "$tree" diff --name-only base refs/vdpa-persist/made -- include |
		while read -r header; do
			echo "$header"
			# They look for these beside themselves
			sed -n "s,^#include \"\(.*\)\",${header%/*}/\1,p" "$tree/$header"
		done | sort -u | tr '\n' ' '
}

# write_kbuild SOURCE DIRECTORY...
write_kbuild()
{
	local source=$1

	shift
	# mkdir: with no headers of their own it is not there
	mkdir -p "$source/include/uapi"
	cat >"$source/Kbuild" <<-EOF
		NOSTDINC_FLAGS += -I\$(src)/include -I\$(src)/include/uapi
		export NOSTDINC_FLAGS
		subdir-ccflags-y += $mlx5_flags
		obj-m += $*
	EOF
	# shellcheck disable=SC2016
	echo 'obj-$(CONFIG_VIRTIO_VDPA) += virtio_vdpa.o' \
		>"$source/drivers/virtio/Makefile"
}

# own_headers SOURCE: no module in it may have been built with the tree's
own_headers()
{
	local header

	for header in $(series_headers); do
		if find "$1" -name '.*.cmd' -exec cat {} + |
		   grep -F "/$header" | grep -qvF "$1/$header"; then
			die "a module in ${1##*/} was built with the tree's $header"
		fi
	done
}

# copy_modules FROM TO: a folder of modules, built as it is, which knows its name. It
# is there as a whole or not at all.
copy_modules()
{
	rm -rf "$2" "$2.new"
	cp -a "$1" "$2.new"
	# Newer kernels have no names of folders there
	{
		grep -rlZF --include='.*.cmd' --include='*.mod' --include=modules.order "$1/" "$2.new" || true
	} | xargs -0r sed -i "s,$1/,$2/,g"
	mv "$2.new" "$2"
}

# make_modules SOURCE: all of them
make_modules()
{
	local config=()

	if has_model; then
		put_model "$1"
		config=("${mlx5_config[@]}")
	fi
	logged "modules-${1##*/}" kmake M="$1" "${config[@]}" modules
}

# build_modules FLAVOUR TREEISH SOURCE MODS: in the folder SOURCE, the modules of
# a commit or tree of the git tree; MODS becomes a copy of what the guest has for
# /lib/modules with these modules in it. They see the headers of TREEISH.
build_modules()
{
	local obj mods=$build/mods/$1 treeish=$2 source=$3 to=$4 headers release made
	local folders=(drivers/vdpa/ drivers/vhost/ drivers/virtio/)

	obj=$(obj_dir "$1")
	release=$(cat "$obj/include/config/kernel.release")
	headers=$(series_headers)
	! has_model || folders+=("$model/")
	made="$(git -C "$tree" rev-parse "$treeish^{tree}") $headers $mlx5_flags ${folders[*]}"
	if [ "$made" != "$(cat "$source/.made" 2>/dev/null)" ]; then
		rm -rf "$source"
		mkdir -p "$source"
		# shellcheck disable=SC2086
		git -C "$tree" archive "$treeish" drivers/vdpa drivers/vhost \
			drivers/virtio $headers | tar -C "$source" -xf -
		write_kbuild "$source" "${folders[@]}"
		echo "$made" >"$source/.made"
	fi
	make_modules "$source"
	own_headers "$source"
	rm -rf "$to"
	cp -a "$mods" "$to"
	install_made "$source" "$to" "$release"
}
