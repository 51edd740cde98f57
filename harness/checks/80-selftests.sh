#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The selftests, each test of which counts as one check

. "$(dirname "$0")/check-lib.sh"

file=$log/check/selftests.log
"$top/harness/run-selftests.sh" | tee "$file" | sed 's/^/# /' || true
counts=$(grep -xE '[0-9]+ passed, [0-9]+ failed' "$file") || exit 1
read -r passed _ failed _ <<<"$counts"
seq "$passed" | sed 's/.*/pass/' >>"$TALLY"
seq "$failed" | sed 's/.*/fail/' >>"$TALLY"
if [ "$failed" = 0 ]; then
	echo "ok $(wc -l <"$TALLY") - selftests: $counts"
else
	echo "not ok $(wc -l <"$TALLY") - selftests: $counts"
fi
