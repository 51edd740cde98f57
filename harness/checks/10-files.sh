#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# This repository's own files

. "$(dirname "$0")/check-lib.sh"

cd "$top"
need checks

ours()
{
	git ls-files -co --exclude-standard | while read -r file; do
		[ ! -f "$file" ] || echo "$file"
	done
}

scripts()
{
	ours | while read -r file; do
		case $(head -c 20 "$file" | head -n 1 | tr -d '\0') in
		'#!'*sh*) echo "$file" ;;
		*) case $file in *.sh) echo "$file" ;; esac ;;
		esac
	done
}

clean_scripts()
{
	scripts | xargs shellcheck -x
}

licensed()
{
	local missing

	grep -q 'GNU GENERAL PUBLIC LICENSE' COPYING
	missing=$(ours | grep -E '\.(c|h|sh|rst|py|gp)$|(^|/)(Makefile|Kbuild)$|^\.ci/' |
		while read -r file; do
			head -n 3 "$file" | grep -q SPDX-License-Identifier: || echo "$file"
		done)
	[ -z "$missing" ] || { echo "no SPDX tag in:"; echo "$missing"; return 1; }
}

check "files: the scripts are free of shellcheck's complaints" clean_scripts
check "files: each has an SPDX tag, and the licence is there" licensed
