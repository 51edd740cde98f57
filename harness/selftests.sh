#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Build the selftests of the tree and run them, each program in a machine of its
# own. A test that is skipped did not pass, but where the list of expected skips
# of the base has it. Ends with "N passed, N failed" of the single tests.

. "$(dirname "$0")/selftests-lib.sh"

usage()
{
	cat <<-'EOF'
	usage: harness/selftests.sh [option]... [PROGRAM]...
	  --flavour fast|debug  in which kernel (debug)
	  --unpatched           with the modules of the base; nothing is expected
	  --test PATTERN        only the tests with a name that matches *PATTERN*
	  --without PATTERN     all tests but those
	  --quick               fewer rounds in the tests that take many
	  --at-once             see harness/vm.sh; what looks for races has it by itself
	The results are in build/<base>/log/selftests/<side>-<flavour>/, with the PATTERN of
	--test at the end of its name.
	EOF
}

flavour=debug side=ours pattern='' only='' options=() machine=()
while [ $# != 0 ]; do
	case $1 in
	--flavour) flavour=$2; shift ;;
	--unpatched) side=unpatched ;;
	--test) pattern=$2 only=$2 options+=(-t "*$2*"); shift ;;
	--without) pattern=$2 options+=(-t "!($2)"); shift ;;
	--quick) options+=(-q) ;;
	--at-once) machine+=(--at-once) ;;
	--help) usage; exit ;;
	-*) usage >&2; exit 2 ;;
	*) break ;;
	esac
	shift
done

lock_build
built=$("$top/harness/build-selftests.sh")
read -ra programs <<<"$built"
[ $# = 0 ] || programs=("$@")
for program in "${programs[@]}"; do
	[ -x "$build/selftests/$program" ] || die "there is no selftest that is called $program"
done
# What the series does not touch is the base's
! git -C "$tree" diff --quiet base -- drivers include || side=unpatched
if [ $side = unpatched ]; then
	# Of some modules of the base it cannot be said what they do: that depends on
	# where memory is, and on who is first
	machine+=(--unpatched --append sysctl.kernel.hung_task_panic=0
		--append "module_blacklist=$(base_key unpatched_without)")
fi
results=$log/selftests/$side-$flavour
# Another run may be about other tests of the same program
[ ! "$only" ] || results+=-${only//[^a-z0-9_]/_}
mkdir -p "$results"

run()
{
	local tap=$results/$1.tap more=()

	rm -f "$results/$1" "$results/$1".*
	# It warns of the eighth mapping of a page, and a client may have more
	[[ $1 = mlx5* ]] || more=(--append dma_debug=off)
	# These map much
	case $1 in
	map_path | reach | failnth | mlx5*) more+=(--mem 2G) ;;
	esac
	! is_about_races "$1" || more+=(--at-once)
	step "running $1 in the $flavour kernel"
	"$top/harness/vm.sh" --flavour "$flavour" --mlx5 --timeout 3600 "${machine[@]}" "${more[@]}" \
		-- "$build/selftests/$1" "${options[@]}" >"$tap" 2>"$tap.err" || true
	grep -E 'FAILED|^\| ' "$tap.err" >&2 || true
	test_results "$tap" | sort >"$results/$1"
	[ -z "$pattern" ] || touch "$results/$1.partly"
}

# unlisted PROGRAM: tests that are skipped without being on the list, or the other
# way round; and those that were skipped wherever they could have run
unlisted()
{
	# The fast kernel has no fault injection, which only some do without
	case $side-$flavour-$1 in
	ours-debug-* | ours-fast-vhost_vdpa | ours-fast-handover | ours-fast-reach) ;;
	*) return 0 ;;
	esac
	list "$patches/expected-skips" | sed -n "s/^$1 //p" | sort >"$results/$1.expected"
	{
		grep ' skip$' "$results/$1" || true
	} | sed 's/ skip$//' >"$results/$1.skipped"
	comm -13 "$results/$1.expected" "$results/$1.skipped" |
		sed 's/$/: was skipped, which is not expected/'
	[ -z "$pattern" ] || return 0
	comm -23 "$results/$1.expected" "$results/$1.skipped" |
		sed 's/$/: is on the list of expected skips, and was not skipped/'
	list "$patches/expected-nowhere" |
		sed -n "s/^$1 \\(.*\\)/\\1: was skipped for each variant/p" | sort >"$results/$1.nowhere"
	never_ran "$results/$1" >"$results/$1.never"
	comm -23 "$results/$1.never" "$results/$1.nowhere"
	comm -13 "$results/$1.never" "$results/$1.nowhere" |
		sed 's/: was .*/: is on the list of what no parent can run, and was run/'
}

passed=0 failed=0
# count PROGRAM: what became of its tests
count()
{
	local tap=$results/$1.tap plan good bad skipped

	plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$tap" | head -n 1)
	good=$(grep -c ' pass$' "$results/$1" || true)
	skipped=$(grep -c ' skip$' "$results/$1" || true)
	unlisted "$1" >"$results/$1.unlisted"
	bad=$((${plan:-0} - good - skipped + $(wc -l <"$results/$1.unlisted")))
	# What has no plan, or fails without saying so, is one failure
	if [ -z "$plan" ] || { grep -q FAILED "$tap.err" && [ $bad = 0 ]; }; then
		bad=1
	fi
	if [ $bad != 0 ]; then
		cat "$results/$1.unlisted" >&2
		grep -E '^not ok |^# .*(Expected|==)' "$tap" >&2 || tail -n 20 "$tap" >&2
	fi
	step "$1: $good passed, $bad failed, $skipped skipped (see $tap)"
	passed=$((passed + good))
	failed=$((failed + bad))
}

each run "${programs[@]}"
for program in "${programs[@]}"; do
	count "$program"
done
if [ $((passed + failed)) = 0 ]; then
	step "each test was skipped:"
	sed -n 's/^ok .* # SKIP //p' "$results"/*.tap | sort -u >&2
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed != 0 ]
