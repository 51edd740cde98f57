#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# QEMU as Debian 12 and its backports have it on our kernel and on the unpatched one: a
# guest lives and migrates, and each message to the device, and each pinned page, has to be
# the same. The packages are unpacked in build/, and not installed.
#
# RELEASES  which ones, of 7.2 and 10.0

. "$(dirname "$0")/migrate-lib.sh"
. "$top/harness/apt-lib.sh"
lock_all

declare -A suites=([7.2]=bookworm [10.0]=bookworm-backports)
# 7.2 migrates what it shadows from the beginning, if there is no control virtqueue
declare -A options=([7.2]="svq no_cvq" [10.0]="")
read -ra releases <<<"${RELEASES:-7.2 10.0}"
TIMEOUT=${TIMEOUT:-1800}

# fetch RELEASE: what the suite has at present
fetch()
{
	local folder=$build/releases/$1 tmp package

	[ ! -e "$folder/usr" ] || return 0
	use_suite deb "${suites[$1]}"
	step "fetching QEMU $1 from ${suites[$1]}"
	logged apt-update "${apt_update[@]}" -q update
	tmp=$(apt_folder)
	cd "$tmp"
	logged fetch-release apt-get "${apt_options[@]}" -q download \
		qemu-system-x86 qemu-system-common
	rm -rf "$folder"
	mkdir -p "$folder"
	# The second one has modules, which are looked for beside the program
	for package in ./*.deb; do
		dpkg-deb -x "$package" unpacked
	done
	dpkg-deb -f ./qemu-system-x86_*.deb Version >"$folder/version"
	mv unpacked/usr "$folder"
	cd "$top"
	rm -r "$tmp"
}

# usable RELEASE: it is of this release, and has its libraries, which are Debian 12's
usable()
{
	local binary=$build/releases/$1/usr/bin/qemu-system-x86_64

	! ldd "$binary" | grep 'not found' || die "libraries of QEMU $1 are not there"
	"$binary" --version | grep -q "version $1\." || die "$binary is not QEMU $1"
}

# told RUN: what is said in each step, and what is pinned after it
told()
{
	sed -nE '/^message/p; /^step/s/ (down|sent|lost|twice|refused|queues)=[^ ]*//gp; /^left/p' \
		"$results/$1"
}

# frames RUN: how many were sent, were lost, and came twice, in all steps
frames()
{
	awk '/^step/ { for (i = 3; i <= NF; i++) { split($i, word, "="); n[word[1]] += word[2] } }
		END { printf "%d/%d/%d", n["sent"], n["lost"], n["twice"] }' "$results/$1"
}

# row RELEASE CASE
row()
{
	local verdict=same unpatched=$1-unpatched-$2 ours=$1-ours-$2

	diff <(told "$unpatched") <(told "$ours") >"$results/diff-$1" ||
		verdict="FAILED: others (see $results/diff-$1)"
	grep -q '^message target_starts start' "$results/$ours" ||
		verdict="FAILED: the target does not start"
	{ no_loss "$unpatched" && no_loss "$ours"; } ||
		verdict+=", FAILED: frames or pages are lost"
	printf '| %-30s | %-10s | %6s | %-11s | %-11s | %s |\n' \
		"$(cat "$build/releases/$1/version")" "${options[$1]:--}" \
		"$(grep -c '^message .* map' "$results/$ours")/$(grep -c '^message .* unmap' "$results/$ours")" \
		"$(frames "$unpatched")" "$(frames "$ours")" "$verdict"
}

for release in "${releases[@]}"; do
	[ "${suites[$release]:-}" ] || die "which Debian has QEMU $release is not known"
	fetch "$release"
	usable "$release"
done
make_guest
{
	echo 'Numbers of messages are map/unmap; frames on each kernel are sent/lost/twice'
	echo
	echo '| QEMU                           | options    | number | unpatched   | ours        | messages and pinned pages |'
	echo '| ---                            | ---        | ---:   | ---         | ---         | --- |'
	for release in "${releases[@]}"; do
		read -ra words <<<"${options[$release]}"
		for kernel in unpatched ours; do
			run "$release-$kernel" life life "${words[@]}"
		done
		row "$release" life
	done
} >"$out/releases.txt"
cat "$out/releases.txt"
! grep -q FAILED "$out/releases.txt"
