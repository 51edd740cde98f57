#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Run a command, or a shell, in a virtual machine with the kernel of the tree.

. "$(dirname "$0")/lib.sh"

usage()
{
	cat <<-'EOF'
	usage: harness/vm.sh [option]... [--] [command]...
	  --flavour fast|debug  which kernel (fast); "uml" is a program of the host
	  --unpatched           with the modules of the base instead of ours
	  --modules DIR         with the modules installed there instead of ours
	  --icount              one CPU, and a clock that counts its instructions
	  --mem SIZE            memory (2G; debug: 1G, as looking for leaks reads of all of it)
	  --smp N               CPUs (2)
	  --at-once             these run at once, whatever ACCEL says; see below
	  --timeout SECONDS     give up after so long (300; a shell has no limit)
	  --no-kmemleak         debug: do not look for leaked memory at the end
	  --append WORDS        more words for the kernel's command line
	  --qemu WORDS          more words for QEMU's command line, such as devices
	  --iommu               with an IOMMU, for devices with iommu_platform=on
	  --mlx5                with a PCI device that the mlx5 model drives; twice for two
	  --writable DIR        uml: what is written to this folder of the host is kept
	  --show                print the command line of QEMU
	The command runs as root in the repository's folder. It can change any file,
	but what it writes is gone afterwards. Its exit status is that of the run; a
	panic, a warning of the kernel, a leak (99) or a timeout (124) is a failure.
	With ACCEL=tcg,thread=single the CPUs take turns, in one thread of the host.
	EOF
}

flavour=fast unpatched='' accel=${ACCEL:-tcg} mem='' smp=2 timeout=300 kmemleak=y
append='' words=() show='' modules='' models=0 writable=''
while [ $# != 0 ]; do
	case $1 in
	--flavour) flavour=$2; shift ;;
	--unpatched) unpatched=-unpatched ;;
	--modules) modules=$2; shift ;;
	--icount) accel=tcg,thread=single icount=y smp=1 ;;
	--mem) mem=$2; shift ;;
	--smp) smp=$2; shift ;;
	--at-once) accel=${accel/,thread=single/} ;;
	--timeout) timeout=$2; shift ;;
	--no-kmemleak) kmemleak='' ;;
	--append) append=${append:+$append }$2; shift ;;
	--qemu) read -ra more <<<"$2"; words+=("${more[@]}"); shift ;;
	--iommu)
		# Coherent, or vhost-vdpa does not take it; kernels since 6.0 always say so
		words=(-device "intel-iommu,snoop-control=on" "${words[@]}")
		append=${append:+$append }intel_iommu=on
		;;
	--mlx5)
		# Its BAR 2 is the doorbell page; tools/testing/vdpa/mlx5
		models=$((models + 1))
		words+=(-object "memory-backend-ram,id=mlx5-$models,size=1M,share=on"
			-device "ivshmem-plain,memdev=mlx5-$models")
		;;
	--writable) writable=$2; shift ;;
	--show) show=y ;;
	--help) usage; exit ;;
	--) shift; break ;;
	-*) usage >&2; exit 2 ;;
	*) break ;;
	esac
	shift
done
if [ "$flavour" = debug ]; then
	mem=${mem:-1G}
else
	kmemleak=''
fi
mem=${mem:-2G}

need vm
image=$(image_of "$flavour")
modules=${modules:-$build/mods/$flavour$unpatched}/lib/modules
if [ ! -e "$image" ] || [ ! -e "$modules" ]; then
	die "there is no $flavour kernel: make kernel first"
fi

# Process 1, put there as a whole as another run may begin
init=$build/guest-init
if [ ! -e "$init" ] || [ "$top/harness/guest-init.c" -nt "$init" ]; then
	logged guest-init gcc -O2 -Wall -static -o "$init.$$" "$top/harness/guest-init.c"
	mv "$init.$$" "$init"
fi

# What belongs to a run, kept for a day. Another run may be doing the same
mkdir -p "$log/vm"
find "$log/vm" -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} + 2>/dev/null || true
run=$log/vm/$(date +%Y%m%d-%H%M%S)-$$
mkdir "$run"
console=$run/console
: >"$console"

interactive=y
{
	echo '#!/bin/sh'
	if [ $# = 0 ]; then
		echo 'exec /bin/bash'
	elif [ $# = 1 ]; then
		interactive=
		printf '%s\n' "$1"
	else
		interactive=
		printf '%q ' exec "$@"
	fi
} >"$run/command"
chmod +x "$run/command"
cat >"$run/env" <<-EOF
	VM_MODULES=$modules
	VM_FOLDER=$PWD
	VM_INTERACTIVE=$interactive
	VM_KMEMLEAK=$kmemleak
	VM_TERM=${TERM:-dumb}
	VM_UML=$([ "$flavour" != uml ] || echo y)
EOF

# What it is told with both kinds of machine
common="ro panic=-1 oops=panic panic_on_warn=1 sysctl.kernel.hung_task_panic=1 $append"

# for_qemu: put into "machine" the command line for it
for_qemu()
{
	# 7.3 forgets for a moment that it has five levels of page tables, and KASAN with it
	local cpu=max,la57=off

	# With erms the kernel copies and clears by bytes, which TCG does one at a time. What
	# counts instructions has it, as before
	[ "${icount:-}" ] || cpu+=,erms=off
	# no_timer_check: on a busy host the timer ticks too late for that check
	# shellcheck disable=SC2054 # QEMU wants the commas
	machine=(qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none
		-machine q35 "${words[@]}" -accel "$accel" -m "$mem" -smp "$smp"
		-kernel "$image"
		-append "console=ttyS0 root=host rootfstype=9p no_timer_check
rootflags=trans=virtio,version=9p2000.L,msize=524288,cache=loose $common init=$init -- $run"
		-fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap
		-device virtio-9p-pci,fsdev=root,mount_tag=host
		-chardev "file,id=console,path=$console" -serial chardev:console
		-device virtio-serial-pci,max_ports=8
		-chardev "file,id=status,path=$run/status"
		-device virtserialport,chardev=status,name=status)
	case $accel in
	tcg*) machine+=(-cpu "$cpu") ;;
	*) machine+=(-cpu host) ;;
	esac
	[ ! "${icount:-}" ] || machine+=(-icount "shift=0,sleep=off")
	if [ "$interactive" ]; then
		machine+=(-chardev "stdio,id=tty,signal=off" -device "virtconsole,chardev=tty")
	else
		# Through a pipe: what opens /dev/stdout here would truncate a file
		machine+=(-chardev "file,id=output,path=/dev/stdout"
			-device "virtserialport,chardev=output,name=output")
	fi
	# Words on the kernel's command line are separated by spaces
	machine=("${machine[@]//$'\n'/ }")
}

# for_uml: the same for user-mode Linux. Its second and third terminal are the output and
# the status
for_uml()
{
	local more

	[ ! "$interactive" ] || die "a shell needs another flavour than uml"
	[ "${#words[@]}${icount:-}" = 0 ] || die "user-mode Linux has no devices of QEMU, nor its clock"
	machine=(unshare --mount --pid --fork --kill-child)
	[ "$(id -u)" = 0 ] || machine+=(--map-root-user)
	read -ra more <<<"console=tty0 con=null con0=null,fd:2 con1=null,fd:4 con2=null,fd:3 root=host rootfstype=hostfs uml_dir=$run/ kmemleak=off $common"
	machine+=("$top/harness/uml.sh" "$run" "$writable" "$image" "mem=$mem" "${more[@]}"
		"init=$init" -- "$run")
}

what=QEMU
if [ "$flavour" = uml ]; then
	what='user-mode Linux'
	for_uml
else
	for_qemu
fi
[ ! "$interactive" ] || timeout=0
[ ! "$show" ] || { printf '%q ' "${machine[@]}"; echo; } >&2

code=0
# Nothing outlives this script, whatever ends it
boot()
{
	code=0
	setpriv --pdeathsig KILL timeout --foreground -k 5 "$timeout" \
		setpriv --pdeathsig KILL "${machine[@]}" </dev/null 2>"$run/qemu" |
		tee "$run/output" || code=${PIPESTATUS[0]}
}

if [ "$interactive" ]; then
	"${machine[@]}" || code=$?
else
	boot
	# TCG was seen to do so while a guest booted, once in thousands of times
	if [ "$code" = 139 ] && [ "$what" = QEMU ] && [ ! -s "$run/output" ]; then
		step "QEMU itself crashed before the guest had said anything: once more"
		boot
	fi
fi

# fail CODE WHAT [PATTERN]: show the console, from the pattern on
fail()
{
	{
		if [ "${3:-}" ]; then
			grep -aE -B 2 -A 57 -m 1 "$3" <(console_said)
		else
			tail -n 60 "$console"
		fi | sed 's/^/| /; s/\r$//'
		[ ! -s "$run/qemu" ] || sed 's/^/qemu: /' "$run/qemu"
		echo "FAILED: $2 (see $console)"
	} >&2
	exit "$1"
}

splat='BUG:|kernel BUG at|WARNING:|KASAN:|UBSAN:|Oops|Kernel panic|general protection fault'
splat+='|possible (circular|recursive|irq lock)|inconsistent lock state'
splat+='|non-static key|INFO: task .* blocked|detected (expedited )?stall|unreferenced object'
splat+='|suspicious rcu_[a-z_]*\(\) usage|Illegal context switch in RCU'

# console_said: without what user-mode Linux of 6.1 does wrong whatever it runs: when a process
# forks, it looks at the ranges of its memory and has no lock
console_said()
{
	if [ "$flavour" = uml ]; then
		grep -avE 'WARNING: suspicious RCU usage|lib/maple_tree.c:[0-9]+ suspicious' "$console"
	else
		cat "$console"
	fi
}

status=$(cat "$run/status" 2>/dev/null || true)
complaint=$(console_said | grep -aoE -m 1 "($splat).*" | head -n 1 | tr -d '\r') || true
if [ "$complaint" ]; then
	fail 99 "the kernel complained: $complaint" "$splat"
elif [ "$code" = 124 ] || [ "$code" = 137 ]; then
	fail 124 "the guest did not end within $timeout seconds"
elif [ "$code" != 0 ]; then
	fail 99 "$what ended with status $code"
elif [ -z "$status" ]; then
	fail 99 "the guest ended without a status"
elif [ "$status" != 0 ] && [ ! "$interactive" ]; then
	echo "FAILED: the command ended with status $status (console: $console)" >&2
fi
exit "$status"
