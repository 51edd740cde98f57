#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Fetch Debian's source package of the base kernel, print the tarball's path.

. "$(dirname "$0")/lib.sh"

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

# The archive that the system knows, or, if base names a suite that it may not have,
# that suite of Debian by itself: with lists and a cache of its own in build/, from the mirror
# that the system uses, signed by a key of Debian's. The system's sources stay as
# they are.
suite=$(base_key suite)
options=()
update=(as_root apt-get)

# The mirror of Debian that the system's lists came from
mirror()
{
	# shellcheck disable=SC2016 # apt expands it
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
		sed -n 's/^Debian|Debian|//p' | head -n 1
}

use_suite()
{
	local own=$build/apt uri

	uri=$(mirror)
	if [ -z "$uri" ]; then
		logged apt-update as_root apt-get -q update
		uri=$(mirror)
	fi
	[ -n "$uri" ] || die "apt has no archive of Debian, from which $package would come" \
		"(or set BASE_TREE)"
	mkdir -p "$own/lists/partial" "$own/cache/archives/partial"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" \
		>"$own/sources.list"
	options=(-o "Dir::Etc::SourceList=$own/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$own/lists" -o "Dir::Cache=$own/cache")
	update=(apt-get "${options[@]}")
}

offered()
{
	apt-cache "${options[@]}" madison "$package" 2>/dev/null |
		awk -F ' *[|] *' '{ print $2 }'
}

[ -z "$suite" ] || use_suite
if ! offered | grep -qxF "$version"; then
	step "asking Debian's archive for $package"
	logged apt-update "${update[@]}" -q update
fi
if ! offered | grep -qxF "$version"; then
	newest=$(offered | sort -V | tail -n 1)
	[ -n "$newest" ] ||
		die "Debian's archive offers no $package (see $log/apt-update.log);" \
			"BASE_TREE=/path/to/a/kernel/git/tree takes that"
	[ "${TAKE_VERSION:-}" = "$newest" ] ||
		die "$package $version, which the series is known to fit, is gone from the" \
			"archive; TAKE_VERSION=$newest takes this one instead," \
			"BASE_TREE=/path/to/a/kernel/git/tree one of yours"
	version=$newest
fi

# apt downloads as a user of its own, which has to be able to write here
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"
if [ "$(id -u)" = 0 ] && id _apt >/dev/null 2>&1; then
	chown _apt "$tmp"
fi

step "fetching $package $version"
cd "$tmp"
logged fetch apt-get "${options[@]}" -q download "$package=$version"
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
