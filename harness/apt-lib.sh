# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Debian's archive: the one that the system knows, or suites of it by themselves.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

apt_options=()
apt_update=(as_root apt-get)

# The mirror of Debian that the system's lists came from
mirror()
{
	# shellcheck disable=SC2016 # apt expands it
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
		sed -n 's/^Debian|Debian|//p' | head -n 1
}

# use_suite deb|deb-src SUITE: which the system may not have, with lists and a cache of
# its own in build/, from the mirror that the system uses, signed by a key of Debian's. The
# system's sources stay as they are.
use_suite()
{
	local own=$build/apt-$1-$2 uri

	uri=$(mirror)
	if [ -z "$uri" ]; then
		logged apt-update as_root apt-get -q update
		uri=$(mirror)
	fi
	[ -n "$uri" ] || die "apt has no archive of Debian, from which $base would come"
	mkdir -p "$own/lists/partial" "$own/cache/archives/partial"
	echo "$1 [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $2 main" \
		>"$own/sources.list"
	apt_options=(-o "Dir::Etc::SourceList=$own/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$own/lists" -o "Dir::Cache=$own/cache"
		-o Acquire::Languages=none)
	apt_update=(apt-get "${apt_options[@]}")
}

# offered PACKAGE: its versions in the archive
offered()
{
	apt-cache "${apt_options[@]}" madison "$1" 2>/dev/null |
		awk -F ' *[|] *' '{ print $2 }'
}

# look_for PACKAGE VERSION: in the archive, as it is now if need be
look_for()
{
	offered "$1" | grep -qxF "$2" && return
	step "asking Debian's archive for $1"
	logged apt-update "${apt_update[@]}" -q update
	offered "$1" | grep -qxF "$2"
}

# apt_folder: a folder for what apt downloads, as a user of its own who has to be able to
# write there
apt_folder()
{
	local tmp

	tmp=$(mktemp -d)
	chmod 755 "$tmp"
	if [ "$(id -u)" = 0 ] && id _apt >/dev/null 2>&1; then
		chown _apt "$tmp"
	fi
	echo "$tmp"
}

# verify FILE SHA256: is it the file that base names?
verify()
{
	[ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ] ||
		die "${1##*/} is not the file that patches/$base/base names"
}
