# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Guests of QEMU that have a vDPA device, in the guest of vm.sh; for migrate.sh and the
# checks.

BASE=$(basename "$(dirname "${BASH_SOURCE[0]}")")
export BASE
. "$(dirname "${BASH_SOURCE[0]}")/../../harness/lib.sh"

# The kernels are those of this base
kernel_base=${KERNEL_BASE:-linux-6.1.y}
kernel_build=$top/build/$kernel_base
guest=$build/guest-$kernel_base
results=$build/migrate
mkdir -p "$out" "$results"

# lock_all: nobody builds what is run here, or runs the like, meanwhile. The kernel's folder
# comes first, as make test of a kernel takes it before QEMU's.
lock_all()
{
	lock_folder "$kernel_build"
	lock_build
}

# of_kernel SCRIPT ARGUMENT...: of the harness, for the base of the kernels
of_kernel()
{
	BASE="$kernel_base" "$top/harness/$1.sh" "${@:2}"
}

# The guest in the guest: the same kernel, and a folder in memory for its root. It is a
# copy, as the kernel may be built anew meanwhile.
make_guest()
{
	local obj=$kernel_build/obj module modules

	need migrate
	[ -e "$obj/arch/x86/boot/bzImage" ] ||
		die "there is no fast kernel of $kernel_base: make kernel first"
	modules=$(echo "$kernel_build"/mods/fast/lib/modules/*/kernel)
	mkdir -p "$guest"
	cp "$obj/arch/x86/boot/bzImage" "$obj/usr/gen_init_cpio" "$guest/"
	for module in net/core/failover drivers/net/{net_failover,virtio_net}; do
		cp "$modules/$module.ko" "$guest/"
	done
	gcc -O2 -Wall -static -o "$guest/init" "$patches/migrate-init.c"
	gcc -O2 -Wall -shared -fPIC -o "$guest/fake.so" "$patches/fake-vhost-vdpa.c"
	cat >"$guest/list" <<-EOF
		dir /dev 755 0 0
		nod /dev/console 600 0 0 c 5 1
		dir /proc 755 0 0
		dir /sys 755 0 0
		file /init $guest/init 755 0 0
		file /failover.ko $guest/failover.ko 644 0 0
		file /net_failover.ko $guest/net_failover.ko 644 0 0
		file /virtio_net.ko $guest/virtio_net.ko 644 0 0
	EOF
	"$guest/gen_init_cpio" "$guest/list" >"$guest/initrd"
}

# once_built WHAT COMMAND...: as once, of the checks, and only if it has passed with what
# is built now
once_built()
{
	local built

	built=$(cat "$build/qemu-system-x86_64"{,-unpatched} \
		"$guest"/{bzImage,init,fake.so} "$guest"/*.ko | digest)
	beside_once "$(whole_state "$built" "$*")" "$@"
}

# run QEMU-KERNEL CASE SCENARIO [OPTION]...: QEMU is stock or ours, or a release that
# releases.sh has fetched, KERNEL is ours or unpatched; the result goes to a file of this
# name
run()
{
	local qemu=${QEMU:-$build/qemu-system-x86_64} kernel=() file=$results/$1-$2

	case $1 in
	stock-*) qemu=$qemu-unpatched ;;
	[0-9]*) qemu=$build/releases/${1%-*}/usr/bin/qemu-system-x86_64 ;;
	esac
	case $1 in *-unpatched) kernel=(--unpatched) ;; esac
	step "$2: ${1%-*} QEMU, ${1#*-} kernel"
	# The guest in it has threads that wait for each other
	# shellcheck disable=SC2086
	of_kernel vm "${kernel[@]}" --at-once --mem "${OUTER_MEM:-1800M}" --timeout "${TIMEOUT:-500}" \
		${VM_OPTIONS:-} -- /usr/bin/python3 "$patches/migrate-guest.py" "$qemu" \
		"$guest/bzImage" "$guest/initrd" "${@:3}" >"$file" 2>"$file.err" ||
		die "$1, $2 (see $file and $file.err)"
	if grep -q '^FAILED' "$file"; then
		die "$1, $2: $(grep -m 1 '^FAILED' "$file") (see $file)"
	fi
}

# run_fake QEMU-FEATURES CASE SCENARIO [OPTION]...: the same without a kernel that has a
# device, in a few seconds; FEATURES is persist or plain, or desc for persist with a group
# for the rings, or groups for that group only
run_fake()
{
	local qemu=${QEMU:-$build/qemu-system-x86_64} file=$results/$1-$2 features=0x1e

	case $1 in stock-*) qemu=$qemu-unpatched ;; esac
	case $1 in
	*-persist) features=0x11e ;;
	*-desc) features=0x19e ;;
	*-groups) features=0x9e ;;
	esac
	timeout "${TIMEOUT:-300}" /usr/bin/python3 "$patches/migrate-guest.py" "$qemu" \
		"$guest/bzImage" "$guest/initrd" "${@:3}" "fake=$guest/fake.so" \
		"features=$features" >"$file" || { tail -n 20 "$file"; return 1; }
}

# value RUN STEP KEY
value()
{
	sed -n "s/^step $2 .*\\b$3=\\([^ ]*\\).*/\\1/p" "$results/$1"
}

# same_messages CASE [KERNEL]: QEMU with the series and without, on the unpatched kernel
same_messages()
{
	diff <(grep '^message' "$results/stock-${2:-unpatched}-$1") \
		<(grep '^message' "$results/ours-${2:-unpatched}-$1")
}

# silent RUN STEP: not a message for the guest's RAM, and nothing unpinned
silent()
{
	[ "$(value "$1" "$2" map)/$(value "$1" "$2" unmap)" = 0/0 ]
}

# no_loss RUN: all frames came back, and none twice; nothing stays pinned
no_loss()
{
	awk '/^step/ && /sent=/ { n++; if (!/sent=[1-9][0-9]* lost=0 twice=0/) bad = 1 }
		/^left/ && !/pinned=0$/ { bad = 1 }
		END { exit !n || bad }' "$results/$1"
}

# all_queues RUN NUMBER: so many queues have moved frames, whenever there were frames
all_queues()
{
	awk -v number="$2" '/^step .* sent=/ { n++; if (!match($0, " queues=" number "$")) bad = 1 }
		END { exit !n || bad }' "$results/$1"
}

# The cases of the checks, each with a device that takes notes. A failure says why.

# right RUN: each address of the guest's is that of the same memory for the device, and what
# it does not find out by itself
right()
{
	! sed -n 's/^wrong //p' "$results/$1" | grep .
}

# happens RUN STEP: the device starts in it; or it is reset, where the driver goes
happens()
{
	local what=start

	[ "$2" != unbind ] || what=reset
	grep -qx "message $2 $what" "$results/$1" || { echo "$2: no $what"; return 1; }
}

# silent_case SCENARIO OPTION STEP...: nothing is said of RAM in the steps
silent_case()
{
	local step case=$1${2:+-$2}

	run_fake ours-persist "$case" "$1" ${2:+"$2"} || return 1
	[ "$(value "ours-persist-$case" boot map)" != 0 ] || return 1
	happens "ours-persist-$case" boot || return 1
	for step in "${@:3}"; do
		happens "ours-persist-$case" "$step" || return 1
		silent "ours-persist-$case" "$step" || { echo "$step: a message for RAM"; return 1; }
	done
	right "ours-persist-$case"
}

# rings OPTION: how many maps shadow virtqueues need: two each, and two for the buffers of the
# control queue
rings()
{
	case $1 in
	cvq*) echo 8 ;;
	*) echo 4 ;;
	esac
}

# apart_case [cvq]: if there is a group for the rings, all that is said when a migration
# starts, and is cancelled, is of another address space than the guest's
apart_case()
{
	local run=ours-desc-cancel${1:+-$1} step number

	run_fake ours-desc "cancel${1:+-$1}" cancel ${1:+"$1"} || return 1
	number=$(rings "${1:-}")
	for step in shadow cancel; do
		happens "$run" $step || return 1
		! grep -E "^message $step (begin|(map|unmap) 0 )" "$results/$run" ||
			{ echo "$step: a message for the guest's address space"; return 1; }
	done
	[ "$(value "$run" shadow other_map)/$(value "$run" cancel other_unmap)" = "$number/$number" ] ||
		{ echo "the rings are not mapped, or not unmapped"; return 1; }
	right "$run"
}

# beyond RUN NUMBER: so many maps for shadow virtqueues are beyond the guest's memory, which
# ends at 4 GiB, where the firmware does
beyond()
{
	local step iova n=0

	for step in shadow cancel; do
		happens "$1" $step || return 1
		silent "$1" $step || { echo "$step: a message for RAM"; return 1; }
	done
	while read -r iova; do
		[ $((0x$iova)) -lt $((1 << 32)) ] || n=$((n + 1))
	done < <(sed -n 's/^message shadow map 0 \([0-9a-f]*\) .*/\1/p' "$results/$1")
	[ $n = "$2" ] || { echo "the rings are not beyond the guest's memory"; return 1; }
	right "$1"
}

# bound_case N [cvq]: if that group stays where it is, or that of the control queue does, the
# rings go beyond the guest's memory; N is when a group is bound in vain
bound_case()
{
	run_fake ours-desc "bound=$1" cancel "bound=$1" "${@:2}" || return 1
	beyond "ours-desc-bound=$1" "$(rings "${2:-}")"
}

# isolated_case: a control queue with its rings in the group of the other rings is isolated,
# as without that group; two of its rings and two buffers are in space 1
isolated_case()
{
	local run=ours-desc-isolated

	run_fake ours-desc isolated cancel cvq=shared || return 1
	[ "$(grep -c '^message boot map 1 ' "$results/$run")" = 4 ] ||
		{ echo "boot: the control queue is not isolated"; return 1; }
	beyond $run 8
}

# same_case SCENARIO OPTION [FEATURES]: without the feature, the messages of QEMU as it comes
same_case()
{
	local case=$1${2:+-$2} features=${3:-plain}

	run_fake "stock-$features" "$case" "$1" ${2:+"$2"} || return 1
	run_fake "ours-$features" "$case" "$1" ${2:+"$2"} || return 1
	[ "$(value "ours-$features-$case" boot map)" != 0 ] || return 1
	happens "ours-$features-$case" boot || return 1
	same_messages "$case" "$features" || return 1
	right "ours-$features-$case"
}

# viommu_case: with a vIOMMU that the guest uses, the maps are the guest's: all go in a
# reset, and a bound driver makes them anew, as many as with QEMU as it comes. Those of
# frames to send, which the device only reads, are left out: they depend on the time.
viommu_case()
{
	local case=rebind-viommu qemu

	for qemu in stock ours; do
		run_fake $qemu-persist $case rebind viommu=used || return 1
		[ "$(grep -c '^message bind map .* 3$' "$results/$qemu-persist-$case")" -gt 100 ] ||
			{ echo "$qemu: the guest does not use it"; return 1; }
	done
	diff <(without_reads stock-persist-$case) <(without_reads ours-persist-$case) ||
		{ echo "other messages than those of the unpatched"; return 1; }
}

# without_reads RUN: how many messages of which kind there are when the device has run once
without_reads()
{
	awk '/^message (unbind|bind|reboot) / && !(/ map / && / 1$/) { n[$2 " " $3]++ }
		END { for (kind in n) print kind, n[kind] }' "$results/$1" | sort
}

# target_case: the target has all of the guest's RAM before the guest is there, but for the
# first MiB, where the firmware at the source has been
target_case()
{
	local run=ours-persist-migrate

	run_fake ours-persist migrate migrate || return 1
	happens $run target_starts || return 1
	awk -v early="$(value $run target_waits mib)" -v late="$(value $run target_starts mib)" \
		'BEGIN { exit !(early >= 128 && late > 0 && late <= 1) }' ||
		{ echo "target_starts: more than the first MiB"; return 1; }
	right $run
}

# address_case: the unit test as it was built last
address_case()
{
	local failed

	failed=$("$build/obj/tests/unit/test-vhost-svq" 2>&1 |
		sed -n 's/^Bail out! .*:\(test_[a-z_]*\): .*/\1/p')
	[ -z "$failed" ] || { echo "$failed"; return 1; }
}

# does_not RUN STEP: the device was to start in it, and did not
does_not()
{
	! grep -qx "message $2 start" "$results/$1" || { echo "the device starts"; return 1; }
	grep -q '^qemu: .*unable to start vhost net' "$results/$1" ||
		{ echo "nobody has tried to start it"; return 1; }
}

# refuse_case: a device that refuses a part of the guest's RAM does not start; once it does not
# refuse any more, it starts. The part is one that is there when the firmware is through.
refuse_case()
{
	local run=ours-persist-refuse

	run_fake ours-persist refuse again refuse=0xc3000 refusals=1-1 || return 1
	does_not $run boot || return 1
	happens $run again || return 1
	right $run
}

# retry_case: a migration begins, and the control queue's first buffer is refused when the
# data queues have started. That is an end of the network, but not of QEMU, and the next try
# gets it back. Before it there are maps of that size for one start, and two for used rings.
retry_case()
{
	local run=ours-desc-retry

	run_fake ours-desc retry retry cvq refuse=0x1000 refusals=7-7 || return 1
	does_not $run shadow || return 1
	happens $run again || return 1
	right $run
}

# postcopy_case: what the target had mapped goes before the guest's RAM arrives
postcopy_case()
{
	local run=ours-persist-postcopy

	run_fake ours-persist postcopy migrate postcopy || return 1
	happens $run target_starts || return 1
	awk -v unmap="$(value $run target_starts unmap)" -v map="$(value $run target_waits map)" \
		-v mib="$(value $run target_starts mib)" \
		'BEGIN { exit !(map && unmap == map && mib >= 128) }' ||
		{ echo "target_starts: not all of the RAM is mapped anew"; return 1; }
	right $run
}

# waits_case SCRIPT: it does not begin as long as another run is here, such as this one
waits_case()
{
	! env LOCKED= CASES= SIZES= RELEASES= timeout 10 "$patches/$1.sh" >"$results/waits-$1" 2>&1 ||
		{ echo "$1 does not wait"; return 1; }
	grep "waiting for another run in " "$results/waits-$1"
}

# unplug_case: of 2 MiB
unplug_case()
{
	local run=$results/ours-persist-unplug

	run_fake ours-persist unplug unplug || return 1
	grep -q '^message boot map .* 200000 ' "$run" || return 1
	grep -q '^message unplug unmap .* 200000$' "$run" ||
		{ echo "unplug: the device keeps what was there"; return 1; }
	grep -q '^message plug map .* 200000 ' "$run" || return 1
	right ours-persist-unplug
}
