#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Take what the selftests did last as what is expected of them; git diff shows what
# that changes. See harness/selftests-lib.sh.

. "$(dirname "$0")/selftests-lib.sh"

# others FILE PROGRAM...: what the list says about other programs, and its comments
others()
{
	local file=$1

	shift
	grep -E '^[^ #]+ without ' "$file" || true
	grep -vE "^([^ #]+ without |($(tr ' ' '|' <<<"$*")) )" "$file" || true
}

# update LIST RESULTS [VERDICT]: from what was run with all its tests
update()
{
	local file=$patches/$1 results=$2 program programs=()

	for program in "$results"/*.tap; do
		[ -e "$program" ] || continue
		program=${program##*/}
		program=${program%.tap}
		[ ! -e "$results/$program.partly" ] || continue
		# One that ended early has not said what becomes of the rest
		if [ "$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$results/$program.tap" | head -n 1)" != \
			"$(wc -l <"$results/$program")" ]; then
			step "$program ended early: what the list says of it stays"
			continue
		fi
		programs+=("$program")
	done
	[ ${#programs[@]} != 0 ] || return 0
	touch "$file"
	{
		others "$file" "${programs[@]}" | grep '^#' || true
		{
			others "$file" "${programs[@]}" | grep -v '^#' || true
			for program in "${programs[@]}"; do
				sed -n "s/^\\(.*${3:-}\\)\$/$program \\1/p" "$results/$program"
			done | if [ "${3:-}" ]; then sed "s/$3\$//"; else cat; fi
		} | sort
	} >"$file.new"
	mv "$file.new" "$file"
	step "${file#"$top"/}: $(list "$file" | wc -l) lines"
}

update expected-skips "$log/selftests/ours-debug" ' skip'
update expected-unpatched "$log/selftests/unpatched-fast"
