#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# kernel.sh [fast|debug]: build the kernel of the tree, and the modules that the
# series can touch once more from the sources of the base.

. "$(dirname "$0")/lib.sh"

flavour=${1:-fast}
obj=$(obj_dir "$flavour")
unpatched=$obj-unpatched
mods=$build/mods/$flavour
fragments=()
for fragment in guest vdpa "$flavour"; do
	fragments+=("$top/harness/config/$fragment.config")
done

need gcc:gcc make:make flex:flex bison:bison bc:bc perl:perl depmod:kmod \
	/usr/include/stdio.h:libc6-dev /usr/include/libelf.h:libelf-dev

# The same sources give the same image, down to its version string
export KBUILD_BUILD_USER=vdpa-persist KBUILD_BUILD_HOST=localhost \
	KBUILD_BUILD_VERSION=1 KBUILD_BUILD_TIMESTAMP='2023-01-01 00:00:00 UTC'

kmake()
{
	make -C "$tree" O="$obj" ARCH=x86_64 LOCALVERSION= -j"$jobs" "$@"
}

configure()
{
	(cd "$tree" && ARCH=x86_64 scripts/kconfig/merge_config.sh -n -O "$obj" \
		kernel/configs/tiny-base.config "${fragments[@]}")
}

# The configuration follows from the fragments and from what the tree has made
# of the Kconfig files
configuration=$({
	cat "${fragments[@]}"
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

step "building the $flavour kernel (the first time takes minutes)"
logged "build-$flavour" kmake bzImage modules
rm -rf "$mods"
logged "install-$flavour" kmake INSTALL_MOD_PATH="$mods" modules_install
release=$(cat "$obj/include/config/kernel.release")

# The modules of the base see the base's headers instead of those that the
# series changes
step "building the unpatched modules beside it"
headers=$(git -C "$tree" diff --name-only --diff-filter=MD base -- include)
mkdir -p "$unpatched"
# shellcheck disable=SC2086
git -C "$tree" archive base drivers/vdpa drivers/vhost drivers/virtio $headers |
	tar -C "$unpatched" -xf -
cat >"$unpatched/Kbuild" <<-'EOF'
	NOSTDINC_FLAGS += -I$(src)/include -I$(src)/include/uapi
	export NOSTDINC_FLAGS
	obj-m += drivers/vdpa/ drivers/vhost/ drivers/virtio/
EOF
# shellcheck disable=SC2016
echo 'obj-$(CONFIG_VIRTIO_VDPA) += virtio_vdpa.o' >"$unpatched/drivers/virtio/Makefile"
logged "unpatched-$flavour" kmake M="$unpatched" modules
for header in $headers; do
	if find "$unpatched" -name '.*.cmd' -exec cat {} + |
	   grep -F "/$header" | grep -qvF "$unpatched/$header"; then
		die "an unpatched module was built with the patched $header"
	fi
done

rm -rf "$mods-unpatched"
cp -a "$mods" "$mods-unpatched"
(cd "$unpatched" && find . -name '*.ko') | while read -r module; do
	cp "$unpatched/$module" "$mods-unpatched/lib/modules/$release/kernel/$module"
done
depmod -b "$mods-unpatched" "$release"
step "kernel: ${obj#"$top"/}/arch/x86/boot/bzImage"
