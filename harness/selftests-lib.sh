# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the selftests say, and what is expected of them.
#
# patches/<base>/expected-skips has a line "PROGRAM TEST" for each test that cannot
# run for one of its variants. patches/<base>/expected-unpatched has "PROGRAM TEST
# pass|fail|skip" for the modules of the base, "PROGRAM none" if it cannot run there, or
# "PROGRAM without PATTERN" for tests of it that cannot. patches/<base>/expected-nowhere has
# a line "PROGRAM FIXTURE.TEST" for each test that can run for none of its variants, of which
# all are skipped, too.
#
# "make expected" makes the first two from what was run last, in the debug kernel and,
# unpatched, in the fast one.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# test_results TAP: the name of each test, and what became of it
test_results()
{
	# In 6.1 the line of a skipped test has no name
	awk '/^#  RUN / { name = $3 }
	     /^ok .* # SKIP / { print name, "skip"; next }
	     /^ok / { print name, "pass"; next }
	     /^not ok / { print name, "fail" }' "$1"
}

# never_ran RESULTS: complain about tests that were skipped for all variants. One
# that has no variants is run elsewhere.
never_ran()
{
	awk '!/^global\./ {
		n = split($1, part, ".")
		test = part[1] "." part[n]
		seen[test]
		if ($2 != "skip")
			ran[test]
	     }
	     END {
		for (test in seen)
			if (!(test in ran))
				print test ": was skipped for each variant"
	     }' "$1" | sort
}

# is_about_races PROGRAM: what it finds depends on CPUs that run at the same time
is_about_races()
{
	case $1 in
	races | leave | vduse_deaths) ;;
	*) return 1 ;;
	esac
}
