# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Kernels with one bug each. A mutant is a file in harness/mutants or, if it fits
# one base only, in patches/<base>/mutants. A base with "mutants=own" takes of those in
# harness/mutants what patches/<base>/shared-mutants lists.
#
#	What: vhost-vdpa: an old client's reset keeps mappings
#	Test: vhost_vdpa
#	Fails: client.net_set_map.compat_reset_cuts_the_device_off
#	File: drivers/vhost/vdpa.c
#	Old:
#	(lines, which must be in the file once)
#	New:
#	(what takes their place)
#
# with more of File, Old and New as needed. "Fails" is a test of the program "Test",
# or "panic PATTERN" for what the kernel says. "Flavour: debug" has it run in the
# debug kernel, and "Leaks: y" looks for leaked memory at its end, which takes half a minute.
# "Disk: y" has it run in a machine with a virtio disk behind an IOMMU, "Disk: bare" without
# one. "Whole: y" runs all rounds of a test. With "Hangs: y" it is enough that the kernel
# says that something hangs in that test. Instead of File, Old and New, "Undo: SUBJECT" is the
# series without the patch of this subject, if it can be reverted as it is. With "For:
# SUBJECT" a mutant says of which patch it takes the effect away; "Undo" implies it.

. "$(dirname "${BASH_SOURCE[0]}")/series-lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/modules-lib.sh"

all_mutants()
{
	local name

	{
		find "$patches/mutants" -name '*.mutant' 2>/dev/null || true
		if [ "$(base_key mutants)" != own ]; then
			find "$top/harness/mutants" -name '*.mutant'
		fi
		list "$patches/shared-mutants" | while read -r name; do
			echo "$top/harness/mutants/$name.mutant"
		done
	} | sort
}

# mutant_key MUTANT KEY
mutant_key()
{
	sed -n "/^File: /q; s/^$2: //p" "$1"
}

# commit_of SUBJECT: of the series
commit_of()
{
	gt log --format='%H %s' base..refs/vdpa-persist/made |
		awk -v subject="$1" 'substr($0, 42) == subject { print $1 }'
}

# write_mutant MUTANT SOURCE: put the bug into the sources; print the files
write_mutant()
{
	local undo commit

	undo=$(mutant_key "$1" Undo)
	if [ ! "$undo" ]; then
		"$top/harness/mutant.py" "$1" "$2"
		return
	fi
	commit=$(commit_of "$undo")
	[ "$commit" ] || die "$1: there is no patch with the subject '$undo'"
	gt diff --name-only "$commit^" "$commit" -- drivers include
	gt diff -R "$commit^" "$commit" -- drivers include |
		(cd "$2" && GIT_CEILING_DIRECTORIES=$build git apply -) ||
		die "$1: the patch cannot be reverted as it is"
}

# clean_modules FLAVOUR SOURCE: the modules of the series in a folder NAME-PLACE;
# what was changed there is as it was again
clean_modules()
{
	local file made of first=${2%-*}-0

	made=$(gt rev-parse 'refs/vdpa-persist/made^{tree}')
	# For a kernel of another configuration they are other modules
	of="$made $(sha256sum <"$(obj_dir "$1")/.config" | cut -c1-16)"
	if [ "$of" = "$(cat "$2/.mutant-of" 2>/dev/null)" ]; then
		while read -r file; do
			gt cat-file blob "$made:$file" >"$2/$file"
		done <"$2/.mutated"
		: >"$2/.mutated"
		return
	fi
	# All folders begin as copies of the first
	(
		flock 6
		[ "$of" = "$(cat "$first/.mutant-of" 2>/dev/null)" ] || {
			build_modules "$1" "$made" "$first" "$first-mods"
			: >"$first/.mutated"
			echo "$of" >"$first/.mutant-of"
		}
	) 6>"$first.lock"
	rm -rf "$2" "$2-mods"
	cp -a "$first-mods" "$2-mods"
	copy_modules "$first" "$2"
	own_headers "$2"
}

# build_mutant FLAVOUR MUTANT SOURCE: its modules are in SOURCE-mods then
build_mutant()
{
	local obj release of

	obj=$(obj_dir "$1")
	release=$(cat "$obj/include/config/kernel.release")
	clean_modules "$1" "$3"
	of=$(cat "$3/.mutant-of")
	# One that is interrupted here leaves a folder that nobody knows the state of
	rm "$3/.mutant-of"
	write_mutant "$2" "$3" | tee "$3/.mutated"
	echo "$of" >"$3/.mutant-of"
	with_ccache make_modules "$3"
	install_made "$3" "$3-mods" "$release"
}
