#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# What the fuzzer has kept, each input once more in the debug kernel: the model must
# agree with all that the kernel does, which must say nothing.

. "$(dirname "$0")/check-lib.sh"
. "$top/harness/fuzz-lib.sh"

[ "$(base_key fuzz)" = yes ] || exit 0
build_fuzz replay
for parent in "${parents[@]}"; do
	once "fuzz: the corpus, on a parent with .$parent, in the debug kernel" \
		replay_inputs "--flavour debug --timeout 900" "$parent" "$corpus"/*
done
wait
