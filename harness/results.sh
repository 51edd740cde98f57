#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# results.sh [COMMAND]...: write the page of results, results/<base>/README.md
# and its plots, from what the commands print that the base's file "results"
# names. A command is run if its output is not in out/<base>/results/ yet, or if
# it is an argument.

. "$(dirname "$0")/lib.sh"

page=$top/results/$base
kept=$out/results
mkdir -p "$page" "$kept"
again=" $* "

# output COMMAND WORD...: the file that has what the command prints
output()
{
	local file=$kept/$1.txt series

	if [ ! -e "$file" ] || [[ $again == *" $1 "* ]]; then
		step "make $*"
		make -s -C "$top" "$@" </dev/null >"$file.new" || die "make $* (see $file.new)"
		mv "$file.new" "$file"
		series=$(git -C "$tree" rev-parse --short=12 'refs/vdpa-persist/made^{tree}')
		echo "the kernel tree $series, $(date -I)" >"$kept/$1.of"
	fi
	echo "$file"
}

# section TITLE COMMAND PLOTS TEXT FROM: what a command prints from a line on
section()
{
	local title=$1 command=$2 plots=$3 text=$4 from=$5 file plot

	# shellcheck disable=SC2086 # the command is several words
	file=$(output $command)
	# shellcheck disable=SC2016 # the marks are of Markdown
	printf '\n## %s\n\n`make %s` (%s): %s\n\n```\n' "$title" "$command" \
		"$(cat "${file%.txt}.of")" "$text"
	sed -n "/${from:-^}/,\$p" "$file" | grep -v '^Plot: \|; the plot: ' |
		sed 's/[[:space:]]*$//; s/ (\([0-9]* s\))$//'
	printf '```\n'
	for plot in $plots; do
		cp "$out/$plot" "$page"
		printf '\n![%s](%s)\n' "$title" "$plot"
	done
}

{
	cat <<-EOF
		# Results on $base

		What the commands below printed, put together by \`make results\`.
		Figures are guest instructions, those of the virtual machine in which the kernel runs, unless
		something else is said: its clock counts them, so that they do not depend on the host. *base*
		and *unpatched* both mean the base's own modules, which run in the same kernel as ours. In
		brackets is the git tree of the kernel source, which \`git rev-parse 'vdpa-persist^{tree}'\`
		prints in \`build/$base/tree\`.
	EOF
	while IFS='|' read -r title command plots text from; do
		section "$title" "$command" "$plots" "$text" "$from"
	done < <(grep -v '^#' "$patches/results")
} >"$page/README.md.new"
mv "$page/README.md.new" "$page/README.md"
step "results: ${page#"$top"/}/README.md"
