#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# source-package.sh FOLDER: fetch the source package that patches/<base>/base names,
# with the distribution's own patches, and unpack it there. The .dsc has the
# checksums of the other files.
#
# source-package.sh: fail if it is neither here nor in the archive any more

. "$(dirname "$0")/apt-lib.sh"

package=$(base_key package)
version=$(base_key version)
source=$build/source
dsc=$source/${package}_${version#*:}.dsc

# Versions of source packages are not what madison lists by itself
find_source()
{
	use_suite deb-src "$(base_key suite)"
	step "asking Debian's archive for $package"
	logged apt-update "${apt_update[@]}" -q update
	apt-get "${apt_options[@]}" -q source --print-uris "$package=$version" >/dev/null 2>&1 ||
		die "Debian's archive has no source of $package $version any more:" \
			"put its files into ${source#"$top"/}, or set BASE_TREE"
}

fetch_source()
{
	local tmp

	find_source
	tmp=$(apt_folder)
	cd "$tmp"
	step "fetching the source of $package $version"
	logged fetch apt-get "${apt_options[@]}" -q source --download-only "$package=$version"
	mkdir -p "$source"
	mv ./* "$source"
	rmdir "$tmp"
	cd "$top"
}

need tree source
if [ $# = 0 ]; then
	[ -e "$dsc" ] || find_source
	exit
fi
[ -e "$dsc" ] || fetch_source
verify "$dsc" "$(base_key sha256)"

step "unpacking $package $version"
rm -rf "$1"
logged unpack dpkg-source --no-copy -x "$dsc" "$1"
rm -rf "$1/debian" "$1/.pc"
