#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Inside the guest of demo-tests.sh: run each test of the list by itself.
#   demo-tests-guest.sh SELFTESTS LIST

while read -r program test _; do
	"$1/$program" -t "$test" >/tmp/tap 2>&1 </dev/null
	if grep -q '^not ok ' /tmp/tap; then
		result=fail
	elif grep -q '^ok .*# SKIP' /tmp/tap; then
		result=skip
	elif grep -q '^ok ' /tmp/tap; then
		result=pass
	else
		result=none
	fi
	echo "$program $test $result"
done <"$2"
