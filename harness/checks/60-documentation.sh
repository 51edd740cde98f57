#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The page of the documentation, with the tree's own Sphinx extensions

. "$(dirname "$0")/check-lib.sh"

page=driver-api/vdpa

documentation()
{
	local version source=$build/check-doc

	need checks
	with_check_tree
	grep -n "^ *${page##*/}\$" "$check_tree/Documentation/${page%/*}/index.rst"
	version=$(make -s -C "$check_tree" kernelversion)
	rm -rf "$source"
	mkdir -p "$source"
	cp "$check_tree/Documentation/$page.rst" "$source/index.rst"
	srctree=$check_tree sphinx-build -q -W --keep-going -b html \
		-c "$check_tree/Documentation" \
		-D version="$version" -D release="$version" \
		-D kerneldoc_srctree="$check_tree" \
		-D kerneldoc_bin="$check_tree/scripts/kernel-doc" \
		"$source" "$source/html"
}

if gt cat-file -e "$made:Documentation/$page.rst" 2>/dev/null; then
	beside "documentation: $page.rst builds without a warning" documentation
fi
wait
