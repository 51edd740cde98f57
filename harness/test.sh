#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Everything that must hold: the scripts of harness/checks in their order, or
# those of them whose name contains one of the arguments.

. "$(dirname "$0")/lib.sh"

export TALLY=$log/check/tally
rm -rf "$log/check"
mkdir -p "$log/check"
: >"$TALLY"

"$top/harness/tree.sh"
for script in "$top"/harness/checks/[0-9]*.sh; do
	wanted=$([ $# != 0 ] || echo y)
	for word; do
		case ${script##*/} in
		*"$word"*) wanted=y ;;
		esac
	done
	[ "$wanted" ] || continue
	"$script" || {
		echo fail >>"$TALLY"
		echo "not ok $(wc -l <"$TALLY") - ${script#"$top"/} could not run"
	}
done

passed=$(grep -c pass "$TALLY" || true)
failed=$(grep -c fail "$TALLY" || true)
step "done; logs are in ${log#"$top"/}/check"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
