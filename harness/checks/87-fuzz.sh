#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# What the fuzzer has kept, each input once more in the debug kernel: the model must
# agree with all that the kernel does, which must say nothing.

. "$(dirname "$0")/check-lib.sh"
. "$top/harness/fuzz-lib.sh"

[ "$(base_key fuzz)" = yes ] || exit 0
build_fuzz replay
# Of what the result depends on, besides what it does of each check
contents=$(find "$fuzz" -type f | sort | xargs cat | sha256sum | cut -c1-16)
for parent in "${parents[@]}"; do
	once "fuzz: the corpus, on a parent with .$parent, in the debug kernel" \
		replay_inputs "--flavour debug --timeout 900 --append fuzz=$contents" "$parent" "$corpus"/*
done
wait
