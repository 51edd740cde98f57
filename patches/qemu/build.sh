#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Build QEMU from the tree of this base, and once without the series. Nothing of it is
# installed.
#
# For what comes without the series the base is checked out in the tree for a moment,
# so that only what the series touches is built twice.

BASE=$(basename "$(dirname "$0")")
export BASE
. "$(dirname "$0")/../../harness/apt-lib.sh"
. "$top/harness/series-lib.sh"
lock_build

obj=$build/obj
tools=$build/tools
binary=qemu-system-x86_64
unit_tests=(tests/unit/test-vhost-{vdpa-maps,svq})

# meson is written in Python, and runs from where it is unpacked
fetch_tools()
{
	local package tmp

	package=$(base_key tools_package)
	[ ! -e "$tools/usr" ] || return 0
	use_suite deb "$(base_key tools_suite)"
	look_for "$package" "$(base_key tools_version)" ||
		die "Debian's archive has no $package $(base_key tools_version) any more"
	tmp=$(apt_folder)
	cd "$tmp"
	step "fetching $package from $(base_key tools_suite)"
	logged fetch-tools apt-get "${apt_options[@]}" -q download \
		"$package=$(base_key tools_version)"
	verify ./*.deb "$(base_key tools_sha256)"
	rm -rf "$tools"
	mkdir -p "$tools"
	dpkg-deb -x ./*.deb unpacked
	mv unpacked/usr "$tools"
	cd "$top"
	rm -r "$tmp"
}

configure()
(
	mkdir -p "$obj"
	cd "$obj"
	"$tree/configure" --python=/usr/bin/python3 --disable-download --enable-werror \
		--target-list=x86_64-softmmu --without-default-features --enable-tcg \
		--enable-vhost-net --enable-vhost-kernel --enable-vhost-vdpa \
		--enable-trace-backends=log --disable-docs --disable-tools \
		--disable-guest-agent --disable-install-blobs --disable-debug-info
)

compile()
{
	with_ccache logged build ninja -C "$obj" -j"$jobs" "$@"
}

build_unpatched()
{
	tree_untouched ||
		die "QEMU without the series is built first: set the work in $tree aside"
	trap 'gt checkout -q vdpa-persist' EXIT
	gt checkout -q --detach base
	compile "$binary"
	cp "$obj/$binary" "$build/$binary-unpatched"
	gt checkout -q vdpa-persist
	trap - EXIT
}

need tree qemu
"$top/harness/tree.sh"
fetch_tools
export PYTHONPATH=$tools/usr/lib/python3/dist-packages
if [ ! -e "$obj/build.ninja" ]; then
	step "configuring QEMU"
	with_ccache logged configure configure
fi
if [ ! -e "$build/$binary-unpatched" ]; then
	step "building QEMU without the series (the first time takes minutes)"
	build_unpatched
fi
step "building QEMU with the series"
compile "$binary" "${unit_tests[@]}"
# At once: somebody may be running them
for file in "$binary" "${unit_tests[@]}"; do
	cp "$obj/$file" "$build/new"
	mv "$build/new" "$build/${file##*/}"
done
step "QEMU: ${build#"$top"/}/$binary, and -unpatched beside it"
