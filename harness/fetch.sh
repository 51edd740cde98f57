#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Fetch Debian's source package of the base kernel, print the tarball's path.

. "$(dirname "$0")/apt-lib.sh"

package=$(base_key package)
version=$(base_key version)
source=$build/source
tarball=$source/$(base_key tarball)

if [ -e "$source/version" ]; then
	echo "$tarball"
	exit
fi

need tree
command -v apt-get >/dev/null ||
	die "$package comes from Debian's archive, which needs apt-get (or set BASE_TREE)"

suite=$(base_key suite)
[ -z "$suite" ] || use_suite deb "$suite"
if ! look_for "$package" "$version"; then
	newest=$(offered "$package" | sort -V | tail -n 1)
	[ -n "$newest" ] ||
		die "Debian's archive offers no $package (see $log/apt-update.log);" \
			"BASE_TREE=/path/to/a/kernel/git/tree takes that"
	[ "${TAKE_VERSION:-}" = "$newest" ] ||
		die "$package $version, which the series is known to fit, is gone from the" \
			"archive; TAKE_VERSION=$newest takes this one instead," \
			"BASE_TREE=/path/to/a/kernel/git/tree one of yours"
	version=$newest
fi

tmp=$(apt_folder)
trap 'rm -rf "$tmp"' EXIT
step "fetching $package $version"
cd "$tmp"
logged fetch apt-get "${apt_options[@]}" -q download "$package=$version"
sha256=$(sha256sum ./*.deb | cut -d' ' -f1)
if [ "$version" = "$(base_key version)" ] && [ "$sha256" != "$(base_key sha256)" ]; then
	die "$package $version is not the file that patches/$base/base names: $sha256"
fi
mkdir -p "$source"
dpkg-deb -x ./*.deb "$source"
[ -e "$tarball" ] || die "$package $version has no $(base_key tarball)"
echo "$sha256  $package $version" >"$source/sha256"
echo "$version" >"$source/version"
echo "$tarball"
